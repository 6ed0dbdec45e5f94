"""The report's numbers: accuracy per arm, gains over the real images alone, gains per class."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dalda.evaluation.comparison import ArmNumbers, ArmSummary, Outcome, compare_arms
from dalda.evaluation.results import REAL
from dalda.reporting.charts import accuracy_chart, gains_chart, shots_chart
from dalda.reporting.report import ArmLine, ArmTable, ClassTable
from dalda.types import Interval, TrialResult

MOST_CHARTS = 4
MOST_CLASSES = 24
"""Lines of a chart of classes: with more, only those that gain and lose most are drawn."""
MOST_SENTENCES = 8
PHRASES: dict[Outcome, str] = {
    "gained": "gained accuracy",
    "lost": "lost accuracy",
    "no measurable difference": "made no measurable difference",
    "one seed gives no interval": "had one seed only",
}


class Key(NamedTuple):
    """What trials have in common that are compared."""

    run: str
    """Empty where there is one run only."""
    dataset: str
    shots: int | None


Groups = Mapping[Key, Mapping[str, ArmNumbers]]


def groups_of(runs: Mapping[str, Sequence[TrialResult]]) -> Groups:
    """Numbers by run, data set, shots and arm; shots rise, and all of them come last."""
    groups: dict[Key, list[TrialResult]] = {}
    for run, results in runs.items():
        for one in sorted(results, key=lambda one: (one.dataset, one.shots or math.inf)):
            groups.setdefault(Key(run if len(runs) > 1 else "", one.dataset, one.shots), []).append(one)
    return {key: compare_arms(results, REAL) for key, results in groups.items()}


def summary_of(numbers: ArmNumbers) -> ArmSummary:
    """The arm's numbers at the only number of shots of its group."""
    (summary,) = numbers.summaries.values()
    return summary


def title_of(key: Key) -> str:
    many = "all shots" if key.shots is None else "1 shot" if key.shots == 1 else f"{key.shots} shots"
    return ", ".join(filter(None, (key.run, key.dataset, many)))


def arm_table(number: int, key: Key, arms: Mapping[str, ArmNumbers]) -> ArmTable:
    """Accuracy and gain of each arm of a group, with its chart."""
    lines = []
    for arm, numbers in arms.items():
        summary, gain = summary_of(numbers), numbers.overall
        lines.append(
            ArmLine(
                arm=arm,
                accuracy=summary.accuracy,
                gain=None if gain is None else gain.gain,
                verdict="" if gain is None else gain.outcome,
                real_images=summary.real_images,
                synthetic_images=summary.synthetic_images,
                seeds=len(summary.accuracy_by_seed),
            )
        )
    chance = 1 / max(len(summary.class_accuracy), 1)
    chart = accuracy_chart(f"arms{number}", {line.arm: line.accuracy for line in lines}, chance)
    return ArmTable(title_of(key), tuple(lines), chart)


def shots_charts(groups: Groups) -> tuple[tuple[str, str], ...]:
    """For each run and data set with several shots, its title and accuracy over shots."""
    charts = []
    several = len({key[:2] for key in groups}) > 1
    for number, place in enumerate(dict.fromkeys(key[:2] for key in groups)):
        arms: dict[str, dict[int, float]] = {}
        for key, group in groups.items():
            if key[:2] == place and key.shots is not None:
                for arm, numbers in group.items():
                    arms.setdefault(arm, {})[key.shots] = summary_of(numbers).accuracy.mean
        if len({shots for values in arms.values() for shots in values}) > 1:
            title = ", ".join(filter(None, place)) if several else ""
            charts.append((title, shots_chart(f"shots{number}", arms)))
    return tuple(charts)


def class_tables(groups: Groups) -> tuple[ClassTable, ...]:
    """One per run and data set, at its most shots: there is least chance in it."""
    last = {key[:2]: key for key in groups}
    tables = (class_table(number, key, groups[key]) for number, key in enumerate(last.values()))
    return tuple(table for table in tables if table is not None)


def class_table(number: int, key: Key, arms: Mapping[str, ArmNumbers]) -> ClassTable | None:
    """What each arm changes per class; None where there is nothing to compare."""
    gains = {arm: one.overall.class_gains for arm, one in arms.items() if one.overall is not None}
    gains = {arm: found for arm, found in gains.items() if found}
    if not gains:
        return None
    rows = tuple(
        (label, accuracy, tuple(found.get(label) for found in gains.values()))
        for label, accuracy in summary_of(arms[REAL]).class_accuracy.items()
        if not math.isnan(accuracy.mean)
    )
    charts = [
        (_charted(arm, found), gains_chart(f"classes{number}-{place}", arm, _most(found)))
        for place, (arm, found) in enumerate(list(gains.items())[:MOST_CHARTS])
    ]
    return ClassTable(title_of(key), tuple(gains), rows, tuple(charts))


def _most(gains: Mapping[str, Interval]) -> dict[str, Interval]:
    ordered = sorted(gains.items(), key=lambda item: -item[1].mean)
    if len(ordered) <= MOST_CLASSES:
        return dict(ordered)
    return dict(ordered[: MOST_CLASSES // 2] + ordered[-MOST_CLASSES // 2 :])


def _charted(arm: str, gains: Mapping[str, Interval]) -> str:
    half = MOST_CLASSES // 2
    few = f", the {half} that gain most and the {half} that lose most" if len(gains) > MOST_CLASSES else ""
    return f"{arm} against {REAL}{few}"


def answer(groups: Groups) -> tuple[str, tuple[str, ...]]:
    """The headline, and a sentence per comparison, at most `MOST_SENTENCES`; biggest gain first."""
    found = [(key, arm.overall) for key, arms in groups.items() for arm in arms.values() if arm.overall]
    if not found:
        return "Accuracy was measured, but not beside real images alone: no gain can be given.", ()
    found.sort(key=lambda item: -item[1].gain.mean)
    sentences = []
    for key, gain in found:
        sentence = gain.sentence(f"synthetic images ({gain.arm})", "real images alone")
        sentences.append(f"{title_of(key)}: {sentence}" if len(groups) > 1 else sentence)
    if len(found) == 1:
        return sentences[0], ()
    more = len(sentences) - MOST_SENTENCES
    if more > 0:
        rest = f"{more} more comparisons, with smaller gains or with losses, are in the tables below."
        sentences = [*sentences[:MOST_SENTENCES], rest]
    return _counted(Counter(gain.outcome for _, gain in found), len(groups) > 1), tuple(sentences)


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
    return ", ".join([*parts, *(f"{outcomes[outcome]} {PHRASES[outcome]}" for outcome in others)]) + "."
