"""The report's numbers: the answer in words, accuracy per arm, gains per class.

Every gain and interval comes from `dalda.evaluation.comparison`; here they are only chosen and worded.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dalda.evaluation.comparison import ArmNumbers, ArmSummary, Comparison, by_shots, compare_arms
from dalda.evaluation.verdict import Answer, answer_of
from dalda.reporting.plots import (
    MOST_CLASSES,
    accuracy_rows,
    gain_rows,
    ordered_classes,
    shots_figure,
    shots_order,
)
from dalda.reporting.svg import inline_svg
from dalda.types import REAL, Interval, TrialResult

MOST_CHARTS = 4
MOST_SENTENCES = 8
ONE_SEED = "one seed"
PHRASES = {
    "helps": "gained accuracy",
    "hurts": "lost accuracy",
    "no evidence": "showed no evidence of a gain or a loss",
    ONE_SEED: "had one seed only",
}


@dataclass(frozen=True)
class ResultGroup:
    """The arms of one run on one data set: what is measured in one run is never pooled with another's."""

    title: str
    arms: Mapping[str, ArmNumbers]
    classes: int
    answers: Mapping[str, Answer]
    """By shots."""

    def shots(self) -> list[str]:
        return sorted({key for arm in self.arms.values() for key in arm.summaries}, key=shots_order)

    def title_at(self, shots: str) -> str:
        return f"{self.title}, {'1 shot' if shots == '1' else f'{shots} shots'}"


@dataclass(frozen=True)
class ArmTable:
    """The arms at one number of shots: name, accuracy and more, and the gain over real images alone."""

    title: str
    arms: Sequence[tuple[str, ArmSummary, Comparison | None]]
    chart: str
    """SVG."""


@dataclass(frozen=True)
class ClassTable:
    """Accuracy per class with real images alone, and what each arm adds."""

    title: str
    arms: Sequence[str]
    rows: Sequence[tuple[str, Interval, Sequence[Interval | None]]]
    charts: Sequence[tuple[str, str]]
    """Title and SVG."""


def group_results(runs: Mapping[str, Sequence[TrialResult]]) -> list[ResultGroup]:
    """The results by run and data set, compared with the arm `real` of the same run."""
    groups: dict[tuple[str, str], list[TrialResult]] = {}
    for run, results in runs.items():
        for result in sorted(results, key=lambda result: (result.dataset, result.arm != REAL)):
            groups.setdefault((run if len(runs) > 1 else "", result.dataset), []).append(result)
    return [
        ResultGroup(
            ", ".join(filter(None, key)),
            compare_arms(results, REAL),
            len(results[0].classes),
            {shots: answer_of(found) for shots, found in by_shots(results).items()},
        )
        for key, results in groups.items()
    ]


def arm_tables(groups: Sequence[ResultGroup]) -> list[ArmTable]:
    """Accuracy and gain of each arm, a table per group and number of shots."""
    tables: list[ArmTable] = []
    for group in groups:
        for shots in group.shots():
            arms = [
                (name, arm.summaries[shots], arm.gains.get(shots))
                for name, arm in group.arms.items()
                if shots in arm.summaries
            ]
            accuracy = {name: summary.accuracy for name, summary, _ in arms}
            numbers = "; ".join(f"{name} {interval.text()} %" for name, interval in accuracy.items())
            figure = accuracy_rows(accuracy, 1 / max(group.classes, 1))
            description = f"Accuracy with 95 % intervals: {numbers}"
            chart = inline_svg(figure, f"arms{len(tables)}", description)
            tables.append(ArmTable(group.title_at(shots), arms, chart))
    return tables


def shots_charts(groups: Sequence[ResultGroup]) -> list[tuple[str, str]]:
    """Title and chart of accuracy over shots, for each group with several numbers of shots."""
    charts = []
    for number, group in enumerate(groups):
        if len(group.shots()) > 1:
            accuracy = {
                name: {key: summary.accuracy for key, summary in arm.summaries.items()}
                for name, arm in group.arms.items()
            }
            numbers = "; ".join(
                f"{name} "
                + ", ".join(f"{100 * interval.mean:.1f} % at {key}" for key, interval in arm.items())
                for name, arm in accuracy.items()
            )
            chart = inline_svg(shots_figure(accuracy), f"shots{number}", f"Accuracy over shots: {numbers}")
            charts.append((group.title if len(groups) > 1 else "", chart))
    return charts


def class_tables(groups: Sequence[ResultGroup]) -> list[ClassTable]:
    """Gains per class, for each group at its largest number of shots: chance is smallest there."""
    return [table for number, group in enumerate(groups) if (table := _class_table(number, group))]


def _class_table(number: int, group: ResultGroup) -> ClassTable | None:
    shots = group.shots()[-1]
    gains = {name: arm.gains[shots].class_gains for name, arm in group.arms.items() if shots in arm.gains}
    if not gains:
        return None
    real = group.arms[REAL].summaries[shots].class_accuracy
    rows = [
        (label, accuracy, [arm.get(label) for arm in gains.values()])
        for label, accuracy in real.items()
        if not math.isnan(accuracy.mean)
    ]
    charts: list[tuple[str, str]] = []
    for arm, by_class in list(gains.items())[:MOST_CHARTS]:
        labels = ordered_classes({arm: by_class})
        numbers = "; ".join(f"{label} {by_class[label].text('+')}" for label in labels)
        chart = inline_svg(
            gain_rows(by_class),
            f"classes{number}-{len(charts)}",
            f"Points gained by {arm} per class: {numbers}",
        )
        few = f", the {MOST_CLASSES} classes that gain and lose most" if len(labels) < len(by_class) else ""
        charts.append((f"{arm} against {REAL}{few}", chart))
    return ClassTable(group.title_at(shots), list(gains), rows, charts)


def shown_warnings(groups: Sequence[ResultGroup]) -> list[str]:
    """What would mislead a reader of the answer, which they come before; each once."""
    answers = [found for group in groups for found in group.answers.values()]
    return list(dict.fromkeys(warning for found in answers for warning in found.warnings))


def answer(groups: Sequence[ResultGroup]) -> tuple[str, list[str]]:
    """The headline, and a sentence per verdict, at most `MOST_SENTENCES`; the largest gain first.

    Each is against the strongest arm without synthetic images.
    """
    answers = [(group.title_at(shots), found) for group in groups for shots, found in group.answers.items()]
    verdicts = [(title, verdict) for title, found in answers for verdict in found.verdicts.values()]
    if not verdicts:
        return "Accuracy was measured, but not with and without synthetic images: no gain is known.", []
    verdicts.sort(key=lambda named: -named[1].comparison.gain.mean)
    several = len({title for title, _ in verdicts}) > 1
    sentences = [
        f"{title}: {verdict.sentence}" if several else verdict.sentence for title, verdict in verdicts
    ]
    more = len(sentences) - MOST_SENTENCES
    if more > 0:
        rest = f"The tables below have {more} more, with smaller gains or with losses."
        sentences = [*sentences[:MOST_SENTENCES], rest]
    if len(verdicts) > 1:
        outcomes = Counter(
            ONE_SEED if verdict.decision.p_value is None else verdict.decision.claim
            for _, verdict in verdicts
        )
        sentences.insert(0, _counted(outcomes, several))
    headline, *others = sentences
    return headline, others


def _counted(outcomes: Counter[str], several: bool) -> str:
    total = sum(outcomes.values())
    if set(outcomes) == {ONE_SEED}:
        return f"{total} ways to add synthetic images were compared, but one seed gives no interval."
    what = "comparisons" if several else "ways to add synthetic images"
    if outcomes["helps"] == total:
        return f"All {total} {what} gained accuracy against the strongest baseline."
    first, *others = [outcome for outcome in PHRASES if outcomes[outcome]]
    parts = [f"{outcomes[first]} of {total} {what} {PHRASES[first]} against the strongest baseline"]
    return ", ".join([*parts, *(f"{outcomes[other]} {PHRASES[other]}" for other in others)]) + "."
