"""Simulated arms with a known difference: the intervals must hold what they promise."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from dalda.evaluation.gains import Gains, difference_by_image, gain_estimate, gains_of, paired
from dalda.evaluation.statistics import interval
from dalda.types import Interval, TrialResult

SIMULATIONS = 1000
WORLDS = [(0.1, 0.0), (0.1, 0.3), (0.3, 0.0)]
"""How much a gain varies between seeds, and between images."""
ALIKE = (0.0, 0.0)
"""All seeds alike: there three seeds cover a little more than they promise, about 96.5 %."""


def simulated(
    generator: np.random.Generator,
    seeds: int,
    gain: float,
    spreads: tuple[float, float],
    *,
    images: int = 200,
    world: int | None = None,
) -> Iterator[Gains]:
    """Comparisons of two arms of classifiers that share how hard each image is.

    An arm is right where difficulty, noise, and for the first arm its gain, come out above zero. Each seed
    is measured on `images` of the `world`, by default all of it.
    """
    world = world or images
    of_seeds, of_images = spreads
    names = np.array([str(number) for number in range(world)])
    for _ in range(SIMULATIONS):
        hard, odd = generator.normal(size=world), generator.normal(size=world) * of_images
        arms: tuple[list[TrialResult], list[TrialResult]] = ([], [])
        for seed in range(seeds):
            own = generator.permutation(world)[:images] if world > images else np.arange(images)
            noise = generator.normal(size=(2, images)) * 0.7 + generator.normal(size=(2, 1)) * of_seeds
            first = gain + hard[own] + odd[own] + noise[0] > 0
            for arm, right in zip(arms, (first, hard[own] + noise[1] > 0), strict=True):
                arm.append(result(seed, right.tolist(), names[own].tolist()))
        yield gains_of(paired(*arms))


def result(seed: int, right: list[bool], images: list[str]) -> TrialResult:
    accuracy = sum(right) / len(right)
    return TrialResult(
        "simulated", "arm", seed, 1, ("a", "b"), accuracy, (), 0, 1, 0, tuple(right), images=tuple(images)
    )


def covers(found: Interval, value: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= value <= found.high


def true_gain(gain: float, spreads: tuple[float, float]) -> float:
    spread = np.sqrt(1 + 0.49 + spreads[0] ** 2 + spreads[1] ** 2)
    return float(stats.norm.cdf(gain / spread) - 0.5)


@pytest.mark.parametrize("world", [200, 400])
@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("spreads", WORLDS)
def test_the_interval_covers_the_truth(seeds: int, spreads: tuple[float, float], world: int) -> None:
    """Where all seeds are measured on the same images, and where each has half of them, as in published
    sets."""
    truth = true_gain(0.3, spreads)
    found = [
        gain_estimate(gains).interval
        for gains in simulated(np.random.default_rng(seeds), seeds, 0.3, spreads, world=world)
    ]
    assert 0.93 <= np.mean([covers(one, truth) for one in found]) <= 0.97


@pytest.mark.parametrize("spreads", [ALIKE, *WORLDS])
@pytest.mark.parametrize(
    ("seeds", "images", "world"), [(3, 200, 200), (3, 200, 400), (2, 12, 24), (3, 30, 30)]
)
def test_no_gain_is_seldom_called_one(
    seeds: int, images: int, world: int, spreads: tuple[float, float]
) -> None:
    found = [
        gain_estimate(gains).interval
        for gains in simulated(np.random.default_rng(5), seeds, 0.0, spreads, images=images, world=world)
    ]
    assert np.mean([one.excludes_zero and one.mean > 0 for one in found]) <= 0.035


def test_a_gain_that_every_seed_shows_alike_has_an_interval_all_the_same() -> None:
    right = np.zeros((3, 12), bool)
    right[[0, 1, 2], [3, 5, 7]] = True
    names = [str(number) for number in range(12)]
    ours = [result(seed, row.tolist(), names) for seed, row in enumerate(right)]
    theirs = [result(seed, [False] * 12, names) for seed in range(3)]
    found = gain_estimate(gains_of(paired(ours, theirs))).interval
    assert found.mean == pytest.approx(1 / 12)
    assert not found.excludes_zero


def test_the_bootstrap_covers_what_new_images_would_show() -> None:
    generator = np.random.default_rng(2)
    truth = true_gain(0.3, (0.0, 0.3))
    found = [difference_by_image(one, generator)[0] for one in simulated(generator, 3, 0.3, (0.0, 0.3))]
    assert 0.93 <= np.mean([covers(one, truth) for one in found]) <= 0.97


def test_the_interval_over_seeds_covers_the_truth() -> None:
    values = np.random.default_rng(3).normal(0.8, 0.03, (SIMULATIONS, 3))
    found = [interval(row) for row in values]
    assert 0.93 <= np.mean([covers(one, 0.8) for one in found]) <= 0.97
