"""The verdict on synthetic images: whether an arm helps against the strongest baseline without them.

A baseline is an arm without synthetic images. An arm helps where it gains on every baseline, and hurts
where it loses to one of them; with several arms, chances of a false claim are corrected by Holm's method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dalda.evaluation.comparison import Comparison, by_arm, compare
from dalda.evaluation.statistics import CONFIDENCE, Estimate
from dalda.types import REAL, ZERO_SHOT, TrialResult

Claim = Literal["helps", "no evidence", "hurts"]
POWER = 0.8
"""How often the smallest effect that a comparison can see would be seen."""
WORSE = 0.02
"""How far the last epoch may lie below the first one."""
MISCALIBRATED = 0.2


@dataclass(frozen=True)
class Claimed:
    """What may be claimed of an arm."""

    claim: Claim
    p_value: float | None
    """The chance of a claim as strong as this one without an effect, corrected; None for one seed."""
    strongest: str
    """The baseline with the highest accuracy."""
    smallest_effect: float | None
    """The smallest gain on the strongest baseline that would be found four times in five."""


@dataclass(frozen=True)
class ArmVerdict:
    """A decision with the comparison behind it."""

    decision: Claimed
    comparison: Comparison
    """With the strongest baseline."""

    @property
    def sentence(self) -> str:
        gain, effect, arm = self.comparison.gain, self.decision.smallest_effect, self.comparison.arm
        points = f"{gain.mean * 100:+.1f} points of accuracy"
        against = f"against the strongest baseline, '{self.comparison.other}'"
        if gain.low is None or gain.high is None or effect is None:
            return f"One seed gives no verdict on '{arm}': {points} {against}."
        claim = f"'{arm}' {self.decision.claim}"
        if self.decision.claim == "no evidence":
            claim = f"No evidence that '{arm}' helps or hurts"
        alone = ""
        if self.decision.claim == "no evidence" and gain.excludes_zero:
            alone = (
                " The interval is of this comparison alone; corrected for all that were made, "
                f"p is {self.decision.p_value:.2f}."
            )
        return (
            f"{claim}: {points} {against} (95 % interval {gain.low * 100:+.1f} to {gain.high * 100:+.1f}; "
            f"an effect of {effect * 100:.1f} would have been found).{alone}"
        )


@dataclass(frozen=True)
class Answer:
    """Did synthetic images help?"""

    verdicts: Mapping[str, ArmVerdict]
    """By arm with synthetic images."""
    warnings: tuple[str, ...]
    """What casts doubt on the trials as a whole; which comes first."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The warnings, then the verdicts."""
        return (*self.warnings, *(verdict.sentence for verdict in self.verdicts.values()))


def answer_of(results: Sequence[TrialResult]) -> Answer:
    """The verdict on each arm with synthetic images; seeds are averaged over the numbers of shots."""
    arms = by_arm(results)
    baselines = baseline_arms(arms)
    found: dict[str, dict[str, Comparison]] = {}
    for arm in arms.keys() - set(baselines):
        compared = {other: compare(arms[arm], arms[other]) for other in baselines}
        found[arm] = {other: one for other, one in compared.items() if one is not None}
    found = {arm: found[arm] for arm in arms if found.get(arm)}
    accuracy = {other: float(np.mean([result.accuracy for result in arms[other]])) for other in baselines}
    decisions = decide(
        {arm: {other: one.estimate for other, one in pairs.items()} for arm, pairs in found.items()},
        accuracy,
    )
    verdicts = {
        arm: ArmVerdict(decision, found[arm][decision.strongest]) for arm, decision in decisions.items()
    }
    return Answer(verdicts, tuple(warnings_of(arms)))


def baseline_arms(arms: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    """The arms without synthetic images; of tables that do not count images, `real` alone."""
    return [
        arm
        for arm, results in arms.items()
        if arm == REAL or all(one.synthetic_images == 0 < one.real_images for one in results)
    ]


def decide(
    gains: Mapping[str, Mapping[str, Estimate]], accuracy: Mapping[str, float]
) -> dict[str, Claimed]:
    """What may be claimed of each arm from its gains on each baseline; `accuracy` is the baselines'.

    To help, an arm must gain on every baseline, so the largest chance counts; to hurt, it must lose to one,
    so the smallest chance counts, times the number of baselines.
    """
    chances: dict[str, tuple[float, float] | None] = {}
    for arm, estimates in gains.items():
        pairs = [chances_of(estimate) for estimate in estimates.values()]
        known = [pair for pair in pairs if pair is not None]
        chances[arm] = None
        if len(known) == len(pairs):
            chances[arm] = (
                max(no_gain for no_gain, _ in known),
                min(1.0, len(known) * min(no_loss for _, no_loss in known)),
            )
    two_sided = {arm: min(1.0, 2 * min(pair)) for arm, pair in chances.items() if pair is not None}
    corrected = holm(two_sided)
    decisions = {}
    for arm, estimates in gains.items():
        strongest = max(estimates, key=lambda other: accuracy[other])
        pair = chances[arm]
        claim: Claim = "no evidence"
        if pair is not None and corrected[arm] < 1 - CONFIDENCE:
            claim = "helps" if pair[0] < pair[1] else "hurts"
        effect = smallest_effect(estimates[strongest], len(gains))
        decisions[arm] = Claimed(claim, corrected.get(arm), strongest, effect)
    return decisions


def chances_of(estimate: Estimate) -> tuple[float, float] | None:
    """The chances of such a gain without one, and of such a loss without one; None for one seed."""
    from scipy.special import stdtr

    if estimate.error is None or estimate.degrees is None:
        return None
    if estimate.error == 0:
        return float(estimate.mean <= 0), float(estimate.mean >= 0)
    below = float(stdtr(estimate.degrees, estimate.mean / estimate.error))
    return 1 - below, below


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Chances corrected for their number (Holm, 1979)."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        largest = max(largest, min(1.0, (len(chances) - place) * chances[name]))
        corrected[name] = largest
    return corrected


def smallest_effect(estimate: Estimate, arms: int = 1) -> float | None:
    """The smallest gain that one of so many arms would be found to have four times in five.

    By the noncentral t distribution; the standard error, which few seeds make too small on average, is
    divided by its expected share of the true one.
    """
    from scipy.special import gammaln, nctdtrinc, stdtrit

    if estimate.error is None or estimate.degrees is None:
        return None
    degrees = min(estimate.degrees, 1000.0)  # as good as normal, and within what the functions can do
    bound = stdtrit(degrees, 1 - (1 - CONFIDENCE) / (2 * arms))
    share = np.sqrt(2 / degrees) * np.exp(gammaln((degrees + 1) / 2) - gammaln(degrees / 2))
    return float(nctdtrinc(degrees, 1 - POWER, bound) / share) * estimate.error


def warnings_of(arms: Mapping[str, Sequence[TrialResult]]) -> list[str]:
    """Sentences about classifiers that no comparison should be made of; of baselines, `real` alone."""
    trained = {
        arm: _means(results)
        for arm, results in arms.items()
        if arm == REAL or any(result.synthetic_images for result in results)
    }
    warnings = []
    others = [arm for arm in arms if arm != ZERO_SHOT]
    if ZERO_SHOT in arms and others:
        zero_shot = np.mean([result.accuracy for result in arms[ZERO_SHOT]])
        if all(np.mean([result.accuracy for result in arms[arm]]) < zero_shot for arm in others):
            warnings.append(
                f"Warning: every trained classifier lies below zero-shot ({zero_shot * 100:.1f} %), which "
                "needs no training: there is nothing to win here."
            )
    fallen = [arm for arm, (first, last, _) in trained.items() if last < first - WORSE]
    if fallen:
        warnings.append(
            f"Warning: {_named(fallen)} ended below the first epoch, which is overfitting: use fewer "
            "--epochs, or another --head."
        )
    overconfident = [arm for arm, (_, _, error) in trained.items() if error > MISCALIBRATED]
    if overconfident:
        warnings.append(
            f"Warning: the confidence of {_named(overconfident)} is off by more than "
            f"{MISCALIBRATED * 100:.0f} points on average (calibration error)."
        )
    return warnings


def _means(results: Sequence[TrialResult]) -> tuple[float, float, float]:
    """First and last epoch's accuracy, and the calibration error."""
    first = np.mean([(result.epoch_accuracy or (result.accuracy,))[0] for result in results])
    return (
        float(first),
        float(np.mean([result.accuracy for result in results])),
        float(np.mean([result.calibration_error or 0.0 for result in results])),
    )


def _named(arms: Sequence[str]) -> str:
    return ", ".join(f"'{arm}'" for arm in arms)
