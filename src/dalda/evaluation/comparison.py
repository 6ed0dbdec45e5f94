"""Comparisons of arms: what one arm gains over another, with one interval and one verdict everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dalda.errors import UserError
from dalda.evaluation.gains import Pairs, difference_by_image, gain_estimate, gains_of, paired
from dalda.evaluation.statistics import Estimate, accuracy_interval, interval
from dalda.seeding import generator_of
from dalda.types import Interval, TrialResult

Outcome = Literal["gained", "lost", "no measurable difference", "one seed gives no interval"]


@dataclass(frozen=True)
class ArmSummary:
    """The numbers of one arm at one number of shots, over its seeds."""

    accuracy: Interval
    """Top-1 over all validation images (micro), after the last epoch."""
    macro_accuracy: Interval
    """The mean over classes of the accuracy within each."""
    best_epoch_accuracy: float
    """The mean of each seed's best epoch, chosen on the very images it is reported on: it flatters."""
    loss: float
    calibration_error: float
    class_accuracy: dict[str, Interval]
    confusion: tuple[tuple[int, ...], ...]
    """Summed over seeds, by true class (outer) and predicted class (inner)."""
    accuracy_by_seed: dict[int, float]
    real_images: int
    synthetic_images: int
    """Per classifier, the mean over seeds (each may have a set of its own)."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another, over the trials that both have."""

    arm: str
    other: str
    gain: Interval
    """For new seeds and new images: decides whether there is a gain."""
    by_seed: Interval
    """For new seeds on these images (Student's t)."""
    by_image: Interval
    """For these classifiers on new images (bootstrap)."""
    chance_of_no_gain: float | None
    """Share of the bootstrap's resamples without a gain; None where the images are not known."""
    class_gains: dict[str, Interval]
    """By seed, for the classes that both arms know."""
    seeds: int
    standard_error: float | None = None
    """Of the gain; None for one seed."""
    degrees: float | None = None
    """Of freedom, of Student's t."""

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.gain.mean, self.standard_error, self.degrees)

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.gain)

    def sentence(self, arm: str = "", other: str = "") -> str:
        """The verdict in one sentence, with other words for the arms where they are given."""
        return verdict(self.gain, arm or f"'{self.arm}'", other or f"'{self.other}'")


@dataclass(frozen=True)
class ArmNumbers:
    """All numbers of one arm, by shots (`all` is no limit)."""

    summaries: dict[str, ArmSummary]
    gains: dict[str, Comparison]
    """Against real images alone; empty for the real arm, and where there is none."""
    overall: Comparison | None
    """The same, each seed averaged over the numbers of shots."""


def by_arm(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Results grouped by arm, in order."""
    arms: dict[str, list[TrialResult]] = {}
    for result in results:
        arms.setdefault(result.arm, []).append(result)
    return arms


def by_shots(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Results grouped by shots as text (`all` without a limit), in order."""
    shots: dict[str, list[TrialResult]] = {}
    for result in results:
        shots.setdefault("all" if result.shots is None else str(result.shots), []).append(result)
    return shots


def summarize(results: Sequence[TrialResult]) -> ArmSummary:
    """The numbers of one arm's results, one per seed, all on the same validation images.

    Raises UserError for results of different classes.
    """
    names = results[0].classes
    if any(result.classes != names for result in results):
        raise UserError(
            f"the trials of '{results[0].arm}' have different classes, and are no seeds of one arm; "
            "name the folder of one run"
        )
    classes = np.array([result.class_accuracy for result in results], float)
    known = np.isfinite(classes).sum(1)
    macro = np.divide(np.nansum(classes, 1), known, out=np.full(len(known), np.nan), where=known > 0)
    counts = [result.confusion for result in results if result.confusion] or [()]
    errors = [result.calibration_error for result in results if result.calibration_error is not None]
    best = [max(result.epoch_accuracy, default=result.accuracy) for result in results]
    return ArmSummary(
        accuracy=accuracy_interval([result.accuracy for result in results]),
        macro_accuracy=accuracy_interval(macro),
        best_epoch_accuracy=float(np.mean(best)),
        loss=float(np.mean([result.loss for result in results])),
        calibration_error=float(np.mean(errors)) if errors else np.nan,
        class_accuracy={name: accuracy_interval(classes[:, place]) for place, name in enumerate(names)},
        confusion=tuple(map(tuple, np.sum(counts, axis=0).tolist())),
        accuracy_by_seed={result.seed: result.accuracy for result in results},
        real_images=round(float(np.mean([result.real_images for result in results]))),
        synthetic_images=round(float(np.mean([result.synthetic_images for result in results]))),
    )


def compare_arms(results: Sequence[TrialResult], real: str | None) -> dict[str, ArmNumbers]:
    """The numbers of each arm, in the results' order; `real` names the arm without synthetic images."""
    arms = {arm: by_shots(numbers) for arm, numbers in by_arm(results).items()}
    reference = arms.get(real or "", {})
    numbers = {}
    for arm, shots in arms.items():
        pairs = {} if arm == real else {key: compare(shots[key], reference.get(key, ())) for key in shots}
        gains = {key: gain for key, gain in pairs.items() if gain is not None}
        both = ([result for key in gains for result in group[key]] for group in (shots, reference))
        overall = compare(*both)
        numbers[arm] = ArmNumbers({key: summarize(shots[key]) for key in shots}, gains, overall)
    return numbers


def compare(results: Sequence[TrialResult], others: Sequence[TrialResult]) -> Comparison | None:
    """The gain of `results` over `others`; None where they share no trial on the same validation images.

    Trials are paired by data set, shots and seed; of several shots, only seeds that have all of them count.
    """
    pairs = paired(results, others)
    if not pairs:
        return None
    gains = gains_of(pairs)
    by_seed = interval(gains.means)
    by_image, chance = by_seed, None
    if gains.parts.shape[1]:
        by_image, chance = difference_by_image(gains, generator_of(0, "bootstrap"))
    estimate = gain_estimate(gains)
    return Comparison(
        arm=pairs[0][0].arm,
        other=pairs[0][1].arm,
        gain=estimate.interval,
        by_seed=by_seed,
        by_image=by_image,
        chance_of_no_gain=chance,
        class_gains=class_gains(pairs),
        seeds=len(gains.means),
        standard_error=estimate.error,
        degrees=estimate.degrees,
    )


def class_gains(pairs: Pairs) -> dict[str, Interval]:
    """The gain per class, over seeds (Student's t), for the classes that the paired trials share."""
    values: dict[str, dict[tuple[str, int], list[float]]] = {}
    for result, other in pairs:
        reference = dict(zip(other.classes, other.class_accuracy, strict=True))
        for label, share in zip(result.classes, result.class_accuracy, strict=True):
            gain = share - reference.get(label, np.nan)
            if np.isfinite(gain):
                seed = (result.dataset, result.seed)
                values.setdefault(label, {}).setdefault(seed, []).append(gain)
    return {
        label: interval([np.mean(found) for found in seeds.values()]) for label, seeds in values.items()
    }


def outcome_of(gain: Interval) -> Outcome:
    """What an interval of a gain allows to say: a gain or a loss only where it excludes zero."""
    if gain.low is None:
        return "one seed gives no interval"
    if not gain.excludes_zero:
        return "no measurable difference"
    return "gained" if gain.mean > 0 else "lost"


def verdict(gain: Interval, arm: str = "synthetic images", other: str = "real images alone") -> str:
    """One sentence about a gain; it says gain or loss only where the interval excludes zero."""
    outcome = outcome_of(gain)
    if gain.low is None or gain.high is None:
        return f"One seed gives no interval ({gain.mean * 100:+.1f} points, {arm} against {other})."
    within = f"95 % interval {gain.low * 100:+.1f} to {gain.high * 100:+.1f}"
    if outcome == "no measurable difference":
        return f"No measurable difference between {arm} and {other} ({within})."
    points = f"{abs(gain.mean) * 100:.1f} points"
    return f"{arm[:1].upper()}{arm[1:]} {outcome} {points} of accuracy against {other} ({within})."
