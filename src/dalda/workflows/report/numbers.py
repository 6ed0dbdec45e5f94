"""The report's numbers: accuracy per arm, gains over the real images alone, gains per class."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dalda.evaluation.results import by_arm
from dalda.evaluation.statistics import (
    Interval,
    accuracy_interval,
    compare,
    interval,
    measured_alike,
    verdict,
)
from dalda.reporting.charts import Estimate, accuracy_chart, gains_chart, shots_chart
from dalda.reporting.report import ArmLine, ArmTable, ClassTable
from dalda.types import TrialResult
from dalda.workflows.results import REAL

MOST_CHARTS = 4
MOST_CLASSES = 24
"""Lines of a chart of classes: with more, only those that gain and lose most are drawn."""
MOST_SENTENCES = 8
GAINED, LOST, LEVEL, ONE_SEED = "gained", "lost", "no measurable difference", "one seed tells no interval"


class Key(NamedTuple):
    """What trials have in common that are compared."""

    run: str
    """Empty where there is one run only."""
    dataset: str
    shots: int | None


Groups = Mapping[Key, Mapping[str, Sequence[TrialResult]]]


def groups_of(runs: Mapping[str, Sequence[TrialResult]]) -> Groups:
    """Results by run, data set, shots and arm; shots rise, and all of them come last."""
    groups: dict[Key, list[TrialResult]] = {}
    for run, results in runs.items():
        for one in sorted(results, key=lambda one: (one.dataset, one.shots or math.inf)):
            groups.setdefault(Key(run if len(runs) > 1 else "", one.dataset, one.shots), []).append(one)
    return {key: by_arm(ones) for key, ones in groups.items()}


def title_of(key: Key) -> str:
    many = "all shots" if key.shots is None else "1 shot" if key.shots == 1 else f"{key.shots} shots"
    return ", ".join(filter(None, (key.run, key.dataset, many)))


def estimate(name: str, found: Interval) -> Estimate:
    if not math.isfinite(found.low):
        return Estimate(name, found.mean, None, None)
    return Estimate(name, found.mean, found.low, found.high)


def alike(
    ones: Sequence[TrialResult], others: Sequence[TrialResult]
) -> tuple[list[TrialResult], list[TrialResult]]:
    """The trials of both arms that have the same seed and validation images, seed by seed."""
    first, second = ({one.seed: one for one in arm} for arm in (ones, others))
    seeds = [seed for seed in first if seed in second and measured_alike(first[seed], second[seed])]
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def gain_of(ones: Sequence[TrialResult], real: Sequence[TrialResult]) -> Interval | None:
    """What the arm gains over the real images alone; None where no seed is shared."""
    first, second = alike(ones, real)
    return compare(first, second).overall if first else None


def word_for(gain: Interval | None) -> str:
    if gain is None:
        return ""
    if not math.isfinite(gain.low):
        return ONE_SEED
    if not gain.excludes_zero:
        return LEVEL
    return GAINED if gain.mean > 0 else LOST


def arm_table(number: int, key: Key, arms: Mapping[str, Sequence[TrialResult]]) -> ArmTable:
    """Accuracy and gain of each arm of a group, with its chart."""
    real = arms.get(REAL, ())
    lines = []
    for name, ones in arms.items():
        gain = None if name == REAL else gain_of(ones, real)
        lines.append(
            ArmLine(
                accuracy=estimate(name, accuracy_interval([one.accuracy for one in ones])),
                gain=None if gain is None else estimate(name, gain),
                verdict=word_for(gain),
                real_images=ones[0].real_images,
                synthetic_images=ones[0].synthetic_images,
                seeds=len(ones),
            )
        )
    classes = next(iter(arms.values()))[0].classes
    chart = accuracy_chart(f"arms{number}", [line.accuracy for line in lines], 1 / max(len(classes), 1))
    return ArmTable(title_of(key), tuple(lines), chart)


def shots_charts(groups: Groups) -> tuple[tuple[str, str], ...]:
    """For each run and data set with several shots, its title and accuracy over shots."""
    charts = []
    several = len({key[:2] for key in groups}) > 1
    for number, place in enumerate(dict.fromkeys(key[:2] for key in groups)):
        arms: dict[str, dict[int, float]] = {}
        for key, group in groups.items():
            if key[:2] == place and key.shots is not None:
                for arm, ones in group.items():
                    arms.setdefault(arm, {})[key.shots] = interval([one.accuracy for one in ones]).mean
        if len({shots for values in arms.values() for shots in values}) > 1:
            title = ", ".join(filter(None, place)) if several else ""
            charts.append((title, shots_chart(f"shots{number}", arms)))
    return tuple(charts)


def class_tables(groups: Groups) -> tuple[ClassTable, ...]:
    """One per run and data set, at its most shots: there is least chance in it."""
    last = {key[:2]: key for key in groups}
    tables = (class_table(number, key, groups[key]) for number, key in enumerate(last.values()))
    return tuple(table for table in tables if table is not None)


def class_table(number: int, key: Key, arms: Mapping[str, Sequence[TrialResult]]) -> ClassTable | None:
    """What each arm changes per class; None where there is nothing to compare."""
    real = arms.get(REAL, ())
    others = {arm: class_gains(ones, real) for arm, ones in arms.items() if arm != REAL}
    others = {arm: gains for arm, gains in others.items() if gains}
    if not real or not others:
        return None
    rows = []
    for place, label in enumerate(real[0].classes):
        found = accuracy_interval([one.class_accuracy[place] for one in real])
        if not math.isnan(found.mean):
            rows.append(
                (label, estimate(label, found), tuple(gains.get(label) for gains in others.values()))
            )
    charts = [
        (_charted(arm, gains), gains_chart(f"classes{number}-{place}", arm, _most(gains)))
        for place, (arm, gains) in enumerate(list(others.items())[:MOST_CHARTS])
    ]
    return ClassTable(title_of(key), tuple(others), tuple(rows), tuple(charts))


def class_gains(ones: Sequence[TrialResult], real: Sequence[TrialResult]) -> dict[str, Estimate]:
    """The points an arm adds per class, over the seeds that it shares with the real images alone."""
    first, second = alike(ones, real)
    if not first or any(one.classes != other.classes for one, other in zip(first, second, strict=True)):
        return {}
    gains = {}
    for place, label in enumerate(first[0].classes):
        pairs = zip(first, second, strict=True)
        found = interval([one.class_accuracy[place] - other.class_accuracy[place] for one, other in pairs])
        if not math.isnan(found.mean):
            gains[label] = estimate(label, found)
    return gains


def _most(gains: Mapping[str, Estimate]) -> list[Estimate]:
    ordered = sorted(gains.values(), key=lambda one: -one.mean)
    if len(ordered) <= MOST_CLASSES:
        return ordered
    return ordered[: MOST_CLASSES // 2] + ordered[-MOST_CLASSES // 2 :]


def _charted(arm: str, gains: Mapping[str, Estimate]) -> str:
    half = MOST_CLASSES // 2
    few = f", the {half} that gain most and the {half} that lose most" if len(gains) > MOST_CLASSES else ""
    return f"{arm} against {REAL}{few}"


def answer(groups: Groups) -> tuple[str, tuple[str, ...]]:
    """The headline, and a sentence per comparison, at most `MOST_SENTENCES`; biggest gain first."""
    found = [
        (key, arm, gain)
        for key, arms in groups.items()
        for arm, ones in arms.items()
        if arm != REAL and (gain := gain_of(ones, arms.get(REAL, ()))) is not None
    ]
    if not found:
        return "Accuracy was measured, but not beside real images alone: no gain can be told.", ()
    found.sort(key=lambda one: -one[2].mean)
    sentences = [_sentence(key, arm, gain, len(groups) > 1) for key, arm, gain in found]
    if len(found) == 1:
        return sentences[0], ()
    more = len(sentences) - MOST_SENTENCES
    if more > 0:
        rest = f"{more} more comparisons, with smaller gains or with losses, are in the tables below."
        sentences = [*sentences[:MOST_SENTENCES], rest]
    return _counted(Counter(word_for(gain) for _, _, gain in found), len(groups) > 1), tuple(sentences)


def _sentence(key: Key, arm: str, gain: Interval, several: bool) -> str:
    said = verdict(gain, arm=f"synthetic images ({arm})", other="real images alone")
    return f"{title_of(key)}: {said}" if several else said


def _counted(words: Counter[str], several: bool) -> str:
    total = sum(words.values())
    if set(words) == {LEVEL}:
        return f"No measurable difference to real images alone in any of {total} comparisons."
    if set(words) == {ONE_SEED}:
        return f"{total} ways to add synthetic images were compared, but one seed tells no interval."
    what = "comparisons" if several else "ways to add synthetic images"
    if words[GAINED] == total:
        return f"All {total} {what} gained accuracy."
    said = {
        GAINED: "gained accuracy",
        LOST: "lost accuracy",
        LEVEL: "made no measurable difference",
        ONE_SEED: "had one seed only",
    }
    first, *others = [word for word in said if words[word]]
    parts = [f"{words[first]} of {total} {what} {said[first]}"]
    return ", ".join([*parts, *(f"{words[word]} {said[word]}" for word in others)]) + "."
