from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dalda.errors import UserError
from dalda.evaluation.statistics import (
    Interval,
    accuracy_interval,
    calibration_error,
    compare,
    confusion,
    difference,
    difference_by_image,
    gains_of,
    interval,
    per_class,
    verdict,
)
from dalda.types import TrialResult


def result(seed: int, accuracy: float, images: int = 100) -> TrialResult:
    hits = round(accuracy * images)
    right = (True,) * hits + (False,) * (images - hits)
    return TrialResult(
        "colours", "arm", seed, 2, ("red", "blue"), hits / images, (1.0, 1.0), 0.1, 4, 0, right
    )


def arms(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[list[TrialResult], list[TrialResult]]:
    """Trials, [seeds, images] each, all measured on the same images."""
    names = tuple(str(number) for number in range(right.shape[1]))

    def arm(rows: NDArray[np.bool_]) -> list[TrialResult]:
        return [
            replace(result(seed, 0.5), right=tuple(row.tolist()), accuracy=row.mean(), images=names)
            for seed, row in enumerate(rows)
        ]

    return arm(right), arm(other)


def test_accuracy_per_class_of_an_uneven_set() -> None:
    right, truth = [True, True, False, True], [0, 0, 0, 1]
    np.testing.assert_allclose(per_class(right, truth, 3), [2 / 3, 1, np.nan])


def test_the_interval_is_students() -> None:
    values = [0.7, 0.8, 0.75, 0.9]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))


def test_one_seed_tells_no_interval() -> None:
    assert interval([0.4]) == Interval(0.4, -np.inf, np.inf)
    assert verdict(interval([0.04])).startswith("One seed tells no interval")


def test_an_accuracys_interval_stays_a_share() -> None:
    assert interval([0.5, 1.0]).high > 1
    found = accuracy_interval([0.5, 1.0])
    assert (found.mean, found.low, found.high) == (0.75, 0.0, 1.0)
    assert accuracy_interval([0.7, 0.8, 0.75, 0.9]) == interval([0.7, 0.8, 0.75, 0.9])


def test_pairing_by_seed_removes_what_the_seeds_share() -> None:
    ours = [result(seed, base + 0.1) for seed, base in enumerate((0.3, 0.5, 0.7))]
    theirs = [result(seed, base) for seed, base in enumerate((0.3, 0.5, 0.7))]
    found = compare(ours, theirs[::-1]).by_seed
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_arms_with_other_seeds_or_images_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="same seeds"):
        compare([result(0, 0.5)], [result(1, 0.5)])
    with pytest.raises(UserError, match="same validation images"):
        compare([result(0, 0.5)], [result(0, 0.5, images=50)])
    with pytest.raises(UserError, match="same validation images"):
        compare(
            [replace(result(0, 0.5, 2), images=("a", "b"))],
            [replace(result(0, 0.5, 2), images=("a", "c"))],
        )


def test_pairing_by_image() -> None:
    generator = np.random.default_rng(0)
    other = generator.random((3, 400)) < 0.6
    right = other | (generator.random((3, 400)) < 0.2)
    found, no_gain = difference_by_image(gains_of(*arms(right, other)), np.random.default_rng(1))
    gain = right.mean() - other.mean()
    spread = (right.astype(float) - other).mean(0).std(ddof=1) / 20
    assert found.mean == pytest.approx(gain)
    assert found.low == pytest.approx(gain - 1.96 * spread, abs=0.004)
    assert found.high == pytest.approx(gain + 1.96 * spread, abs=0.004)
    assert no_gain == 0.0
    same, chance = difference_by_image(gains_of(*arms(other, other)), np.random.default_rng(1))
    assert (same, chance) == (Interval(0.0, 0.0, 0.0), 1.0)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Interval(0.05, 0.01, 0.09), "Synthetic images gained 5.0 points of accuracy"),
        (Interval(-0.05, -0.09, -0.01), "Synthetic images lost 5.0 points of accuracy"),
        (Interval(0.05, -0.01, 0.11), "No measurable difference between synthetic images and real"),
        (Interval(0.0, 0.0, 0.0), "No measurable difference"),
    ],
)
def test_a_gain_is_one_only_when_its_interval_excludes_zero(difference: Interval, said: str) -> None:
    assert verdict(difference).startswith(said)


def test_confusion_counts_true_by_seen() -> None:
    assert confusion([0, 1, 1, 2], [0, 0, 1, 1], 3).tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_calibration_error() -> None:
    # Always 80 % sure and right in 3 of 4: off by 5 points. In two cells: the gaps add up.
    said = np.array([[0.8, 0.2]] * 4)
    assert calibration_error(said, [0, 0, 0, 1]) == pytest.approx(0.05)
    mixed = np.array([[0.8, 0.2]] * 2 + [[0.4, 0.6]] * 2)
    assert calibration_error(mixed, [0, 0, 0, 0]) == pytest.approx((0.2 + 0.6) / 2)


def test_the_difference_is_the_two_way_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    right = generator.random((3, 50)) < 0.8
    other = generator.random((3, 50)) < 0.6
    gain = right.astype(float) - other
    found = difference(gains_of(*arms(right, other)))
    total = ((gain - gain.mean()) ** 2).sum()
    of_seeds = 50 * ((gain.mean(1) - gain.mean()) ** 2).sum()
    of_images = 3 * ((gain.mean(0) - gain.mean()) ** 2).sum()
    squares = np.array([of_seeds / 2, of_images / 49, (total - of_seeds - of_images) / 98])
    variance = max(squares @ [1, 1, -1], squares[:2].min()) / 150
    assert found.mean == pytest.approx(gain.mean())
    # Besides rounding, only the degrees of freedom are estimated otherwise.
    shares = (squares / 150)[:2]
    degrees = max(5 / 6 * variance**2 / (shares**2 / [2, 49]).sum(), 2)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(variance)
    assert found.high - found.mean == pytest.approx(half, rel=0.05)
    assert difference(gains_of(*arms(right, right))) == Interval(0.0, 0.0, 0.0)
    assert difference(gains_of(*arms(right[:1], other[:1]))).high == np.inf


def test_a_comparison_says_all_there_is() -> None:
    names = tuple(str(number) for number in range(100))
    ours = [replace(result(seed, 0.9 + 0.01 * seed), images=names) for seed in range(3)]
    theirs = [replace(result(seed, 0.6), arm="real", images=names) for seed in range(3)]
    found = compare(ours, theirs)
    assert found.by_seed == interval([0.9 + 0.01 * seed - 0.6 for seed in range(3)])
    assert found.overall.mean == pytest.approx(0.31) == found.by_image.mean
    assert found.chance_of_no_gain == 0
    assert found.sentence.startswith("Arm gained 31.0 points of accuracy against real")
    assert compare(ours, theirs) == found


def test_seeds_that_share_no_image_are_compared_by_seed() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = arms(generator.random((3, 200)) < 0.8, generator.random((3, 200)) < 0.6)

    def elsewhere(arm: list[TrialResult]) -> list[TrialResult]:
        return [replace(one, images=tuple(f"{one.seed}-{name}" for name in one.images)) for one in arm]

    apart = compare(elsewhere(ours), elsewhere(theirs))
    assert (apart.overall.low, apart.overall.high) == pytest.approx((apart.by_seed.low, apart.by_seed.high))
    assert compare(ours, theirs).overall != apart.overall
    unnamed = compare(*([replace(one, images=()) for one in arm] for arm in (ours, theirs)))
    assert unnamed == apart


def test_several_shots_of_a_seed_are_one_row() -> None:
    few = [result(seed, 0.5 + 0.1 * seed) for seed in range(3)]
    many = [replace(result(seed, 0.7 + 0.1 * seed), shots=4) for seed in range(3)]
    base = [replace(result(seed, 0.4), shots=shots) for seed in range(3) for shots in (2, 4)]
    found = compare([*few, *many], base)
    assert (found.by_seed.mean, found.by_seed.low) == pytest.approx(
        (interval([0.2, 0.3, 0.4]).mean, interval([0.2, 0.3, 0.4]).low)
    )
    assert found.overall.mean == pytest.approx(0.3)
