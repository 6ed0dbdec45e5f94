"""The report's numbers: the answer in words, accuracy per arm, gains per class.

Every gain and interval comes from `dalda.evaluation.comparison`; here they are only chosen and worded.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dalda.evaluation.comparison import ArmNumbers, ArmSummary, Comparison, Outcome, compare_arms
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
PHRASES: dict[Outcome, str] = {
    "gained": "gained accuracy",
    "lost": "lost accuracy",
    "no measurable difference": "made no measurable difference",
    "one seed gives no interval": "had one seed only",
}


@dataclass(frozen=True)
class ResultGroup:
    """The arms of one run on one data set: what is measured in one run is never pooled with another's."""

    title: str
    arms: Mapping[str, ArmNumbers]
    classes: int

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
        ResultGroup(", ".join(filter(None, key)), compare_arms(results, REAL), len(results[0].classes))
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


def answer(groups: Sequence[ResultGroup]) -> tuple[str, list[str]]:
    """The headline, and a sentence per comparison, at most `MOST_SENTENCES`; the largest gain first."""
    gains = [
        (group.title_at(shots), gain)
        for group in groups
        for arm in group.arms.values()
        for shots, gain in arm.gains.items()
    ]
    if not gains:
        return "Accuracy was measured, but without an arm of real images alone: no gain is known.", []
    gains.sort(key=lambda named: -named[1].gain.mean)
    several = len({title for title, _ in gains}) > 1
    sentences = []
    for title, gain in gains:
        sentence = gain.sentence(f"synthetic images ({gain.arm})", "real images alone")
        sentences.append(f"{title}: {sentence}" if several else sentence)
    if len(gains) == 1:
        return sentences[0], []
    more = len(sentences) - MOST_SENTENCES
    if more > 0:
        rest = f"The tables below have {more} more, with smaller gains or with losses."
        sentences = [*sentences[:MOST_SENTENCES], rest]
    return _counted(Counter(gain.outcome for _, gain in gains), several), sentences


def _counted(outcomes: Counter[Outcome], several: bool) -> str:
    total = sum(outcomes.values())
    if set(outcomes) == {"no measurable difference"}:
        return f"No measurable difference to real images alone in any of {total} comparisons."
    if set(outcomes) == {"one seed gives no interval"}:
        return f"{total} ways to add synthetic images were compared, but one seed gives no interval."
    what = "comparisons" if several else "ways to add synthetic images"
    if outcomes["gained"] == total:
        return f"All {total} {what} gained accuracy."
    first, *others = [outcome for outcome in PHRASES if outcomes[outcome]]
    parts = [f"{outcomes[first]} of {total} {what} {PHRASES[first]}"]
    return ", ".join([*parts, *(f"{outcomes[other]} {PHRASES[other]}" for other in others)]) + "."
