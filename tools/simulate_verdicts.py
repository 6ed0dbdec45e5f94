"""Error rates of verdicts in simulated comparisons with a known effect.

Arms are classifiers that share how hard each image is; each has a liking of its own for images and for
seeds. Prints a line per number of seeds, for docs/evaluation.md.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dalda.evaluation.gains import Gains, gain_estimate
from dalda.evaluation.statistics import Estimate
from dalda.evaluation.verdict import Claimed, decide

OF_SEEDS, OF_IMAGES, NOISE = 0.1, 0.2, 0.7
"""Standard deviations of an arm's liking for a seed and for an image, and of what is left."""


@dataclass(frozen=True)
class Setting:
    """What is simulated."""

    seeds: int
    baselines: int = 4
    arms: int = 3
    images: int = 200
    effect: float = 0.0
    """What the first arm adds to the score of every image."""


@dataclass(frozen=True)
class Rates:
    """Shares of simulations."""

    claims_of_help: float
    """Any arm but one with an effect."""
    claims_of_harm: float
    found: float
    """The first arm is found to help."""
    coverage: float
    """The interval against the first baseline holds the true gain."""
    smallest_effect: float
    """The mean over simulations, in accuracy."""


def simulate(setting: Setting, simulations: int, seed: int = 0) -> Rates:
    generator = np.random.default_rng(seed)
    spread = np.sqrt(1 + OF_SEEDS**2 + OF_IMAGES**2 + NOISE**2)
    truth = float(stats.norm.cdf(setting.effect / spread) - 0.5)
    helps = harms = found = covered = 0
    effects = []
    for _ in range(simulations):
        right = _answers(setting, generator)
        names = [f"arm {number}" for number in range(setting.arms)]
        others = [f"baseline {number}" for number in range(setting.baselines)]
        gains = {
            name: {
                other: _estimate(right[arm], right[setting.arms + base])
                for base, other in enumerate(others)
            }
            for arm, name in enumerate(names)
        }
        accuracy = {other: float(right[setting.arms + base].mean()) for base, other in enumerate(others)}
        decisions = decide(gains, accuracy)
        null = [name for name in names if setting.effect == 0 or name != names[0]]
        helps += any(decisions[name].claim == "helps" for name in null)
        harms += any(decisions[name].claim == "hurts" for name in names)
        found += decisions[names[0]].claim == "helps"
        interval = gains[names[0]][others[0]].interval
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= truth <= interval.high
        effects.append(_effect(decisions[names[0]]))
    return Rates(
        helps / simulations,
        harms / simulations,
        found / simulations,
        covered / simulations,
        float(np.mean(effects)),
    )


def effect_for(gain: float) -> float:
    """The effect on scores that gives this gain in accuracy."""
    spread = np.sqrt(1 + OF_SEEDS**2 + OF_IMAGES**2 + NOISE**2)
    return float(stats.norm.ppf(0.5 + gain) * spread)


def _answers(setting: Setting, generator: np.random.Generator) -> NDArray[np.float64]:
    """Whether each classifier is right, [arms + baselines, seeds, images]."""
    count, images = setting.arms + setting.baselines, setting.images
    hard = generator.normal(size=images)
    liked = generator.normal(size=(count, 1, images)) * OF_IMAGES
    seeds = generator.normal(size=(count, setting.seeds, 1)) * OF_SEEDS
    score = hard + liked + seeds + generator.normal(size=(count, setting.seeds, images)) * NOISE
    score[0] += setting.effect
    return (score > 0).astype(float)


def _estimate(first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate:
    """The gain of right answers [seeds, images]."""
    gain = first - second
    images = gain.shape[1]
    parts = (gain - gain.mean(1, keepdims=True)) / np.sqrt(images * (images - 1))
    return gain_estimate(Gains(gain.mean(1), parts))


def _effect(decision: Claimed) -> float:
    assert decision.smallest_effect is not None
    return float(decision.smallest_effect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000)
    count = parser.parse_args().simulations
    print("| seeds | claims of help | claims of harm | coverage | smallest effect, points | found |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seeds in (3, 5, 10):
        null = simulate(Setting(seeds), count)
        one = simulate(Setting(seeds, baselines=1, arms=1), count)
        at = simulate(
            Setting(seeds, baselines=1, arms=1, effect=effect_for(one.smallest_effect)), count, seed=1
        )
        print(
            f"| {seeds} | {null.claims_of_help:.1%} | {null.claims_of_harm:.1%} | {null.coverage:.1%} | "
            f"{one.smallest_effect * 100:.1f} | {at.found:.0%} |"
        )


if __name__ == "__main__":
    main()
