"""Simulated arms with a known difference: the intervals must hold what they promise."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dalda.trials.metrics import difference, difference_by_image, interval

SIMULATIONS = 1000
IMAGES = 200


def simulated(
    generator: np.random.Generator, seeds: int, gain: float, seed_spread: float, image_spread: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two arms of classifiers that share how hard each image is, [simulations, seeds, images] each.

    An arm is right where difficulty, noise, and for the first arm its gain, come out above zero; the gain
    varies between seeds and between images.
    """
    shape = (SIMULATIONS, seeds, IMAGES)
    hard = generator.normal(size=(SIMULATIONS, 1, IMAGES))
    noise = generator.normal(size=(2, *shape)) * 0.7
    of_seed = generator.normal(size=(2, SIMULATIONS, seeds, 1)) * seed_spread
    of_image = generator.normal(size=(SIMULATIONS, 1, IMAGES)) * image_spread
    return gain + hard + noise[0] + of_seed[0] + of_image > 0, hard + noise[1] + of_seed[1] > 0


def true_gain(gain: float, seed_spread: float, image_spread: float) -> float:
    spread = np.sqrt(1 + 0.49 + seed_spread**2 + image_spread**2)
    return float(stats.norm.cdf(gain / spread) - 0.5)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(("seed_spread", "image_spread"), [(0.0, 0.0), (0.1, 0.3), (0.3, 0.0)])
def test_the_interval_covers_the_truth(seeds: int, seed_spread: float, image_spread: float) -> None:
    generator = np.random.default_rng(seeds)
    first, second = simulated(generator, seeds, 0.3, seed_spread, image_spread)
    truth = true_gain(0.3, seed_spread, image_spread)
    found = [difference(one, other) for one, other in zip(first, second, strict=True)]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


@pytest.mark.parametrize(("seed_spread", "image_spread"), [(0.0, 0.0), (0.1, 0.3), (0.3, 0.0)])
def test_no_gain_is_seldom_called_one(seed_spread: float, image_spread: float) -> None:
    first, second = simulated(np.random.default_rng(5), 3, 0.0, seed_spread, image_spread)
    found = [difference(one, other) for one, other in zip(first, second, strict=True)]
    assert np.mean([one.low > 0 for one in found]) <= 0.035


def test_the_bootstrap_covers_what_new_images_would_show() -> None:
    generator = np.random.default_rng(2)
    first, second = simulated(generator, 3, 0.3, 0.0, 0.3)
    truth = true_gain(0.3, 0.0, 0.3)
    found = [
        difference_by_image(one, other, generator, resamples=1000)[0]
        for one, other in zip(first, second, strict=True)
    ]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


def test_the_interval_over_seeds_covers_the_truth() -> None:
    values = np.random.default_rng(3).normal(0.8, 0.03, (SIMULATIONS, 3))
    found = [interval(row) for row in values]
    assert 0.93 <= np.mean([one.low <= 0.8 <= one.high for one in found]) <= 0.97
