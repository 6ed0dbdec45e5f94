from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dalda.errors import UserError
from dalda.evaluation.comparison import (
    Comparison,
    class_gains,
    compare,
    compare_arms,
    summarize,
    verdict,
)
from dalda.evaluation.gains import difference_by_image, gain_estimate, gains_of, paired
from dalda.evaluation.statistics import interval
from dalda.types import Interval, TrialResult


def result(seed: int, accuracy: float, images: int = 100) -> TrialResult:
    hits = round(accuracy * images)
    right = (True,) * hits + (False,) * (images - hits)
    return TrialResult(
        "colours", "arm", seed, 2, ("red", "blue"), hits / images, (1.0, 1.0), 0.1, 4, 0, right
    )


def compared(results: list[TrialResult], others: list[TrialResult]) -> Comparison:
    found = compare(results, others)
    assert found is not None
    return found


def arms(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[list[TrialResult], list[TrialResult]]:
    """Trials, [seeds, images] each, all measured on the same images."""
    names = tuple(str(number) for number in range(right.shape[1]))

    def arm(rows: NDArray[np.bool_]) -> list[TrialResult]:
        return [
            replace(result(seed, 0.5), right=tuple(row.tolist()), accuracy=row.mean(), images=names)
            for seed, row in enumerate(rows)
        ]

    return arm(right), arm(other)


def test_pairing_by_seed_removes_what_the_seeds_share() -> None:
    ours = [result(seed, base + 0.1) for seed, base in enumerate((0.3, 0.5, 0.7))]
    theirs = [result(seed, base) for seed, base in enumerate((0.3, 0.5, 0.7))]
    found = compared(ours, theirs[::-1]).by_seed
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_arms_that_share_no_trial_are_not_compared() -> None:
    assert compare([result(0, 0.5)], [result(1, 0.5)]) is None
    assert compare([result(0, 0.5)], [result(0, 0.5, images=50)]) is None
    first = replace(result(0, 0.5, 2), images=("a", "b"))
    assert compare([first], [replace(first, images=("a", "c"))]) is None


def test_only_seeds_with_all_shots_count() -> None:
    ours = [
        replace(result(seed, 0.6), shots=shots) for seed, shots in ((0, 1), (0, 2), (1, 1), (1, 2), (2, 1))
    ]
    theirs = [replace(one, arm="real") for one in ours]
    assert [(one.seed, one.shots) for one, _ in paired(ours, theirs)] == [(0, 1), (1, 1), (0, 2), (1, 2)]
    found = compare(ours, theirs)
    assert found is not None
    assert found.seeds == 2


def test_pairing_by_image() -> None:
    generator = np.random.default_rng(0)
    other = generator.random((3, 400)) < 0.6
    right = other | (generator.random((3, 400)) < 0.2)
    found, no_gain = difference_by_image(gains_of(paired(*arms(right, other))), np.random.default_rng(1))
    gain = right.mean() - other.mean()
    spread = (right.astype(float) - other).mean(0).std(ddof=1) / 20
    assert found.mean == pytest.approx(gain)
    assert found.low == pytest.approx(gain - 1.96 * spread, abs=0.004)
    assert found.high == pytest.approx(gain + 1.96 * spread, abs=0.004)
    assert no_gain == 0.0
    same, chance = difference_by_image(gains_of(paired(*arms(other, other))), np.random.default_rng(1))
    assert (same, chance) == (Interval(0.0, 0.0, 0.0), 1.0)


@pytest.mark.parametrize(
    ("difference", "start"),
    [
        (Interval(0.05, 0.01, 0.09), "Synthetic images gained 5.0 points of accuracy"),
        (Interval(-0.05, -0.09, -0.01), "Synthetic images lost 5.0 points of accuracy"),
        (Interval(0.05, -0.01, 0.11), "No measurable difference between synthetic images and real"),
        (Interval(0.0, 0.0, 0.0), "No measurable difference"),
        (Interval(0.04, None, None), "One seed gives no interval (+4.0 points"),
    ],
)
def test_a_gain_is_one_only_when_its_interval_excludes_zero(difference: Interval, start: str) -> None:
    assert verdict(difference).startswith(start)


def test_the_difference_is_the_two_way_analysis_of_variance() -> None:
    generator = np.random.default_rng(0)
    right = generator.random((3, 50)) < 0.8
    other = generator.random((3, 50)) < 0.6
    gain = right.astype(float) - other
    found = gain_estimate(gains_of(paired(*arms(right, other)))).interval
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
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(half, rel=0.05)
    assert gain_estimate(gains_of(paired(*arms(right, right)))).interval == Interval(0.0, 0.0, 0.0)
    assert gain_estimate(gains_of(paired(*arms(right[:1], other[:1])))).interval.high is None


def test_a_comparison_says_all_there_is() -> None:
    names = tuple(str(number) for number in range(100))
    ours = [replace(result(seed, 0.9 + 0.01 * seed), images=names) for seed in range(3)]
    theirs = [replace(result(seed, 0.6), arm="real", images=names) for seed in range(3)]
    found = compared(ours, theirs)
    assert found.by_seed == interval([0.9 + 0.01 * seed - 0.6 for seed in range(3)])
    assert found.gain.mean == pytest.approx(0.31) == found.by_image.mean
    assert found.chance_of_no_gain == 0
    assert found.sentence().startswith("'arm' gained 31.0 points of accuracy against 'real'")
    assert compare(ours, theirs) == found


def test_seeds_that_share_no_image_are_compared_by_seed() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = arms(generator.random((3, 200)) < 0.8, generator.random((3, 200)) < 0.6)

    def elsewhere(arm: list[TrialResult]) -> list[TrialResult]:
        return [replace(one, images=tuple(f"{one.seed}-{name}" for name in one.images)) for one in arm]

    apart = compared(elsewhere(ours), elsewhere(theirs))
    assert (apart.gain.low, apart.gain.high) == pytest.approx((apart.by_seed.low, apart.by_seed.high))
    assert compared(ours, theirs).gain != apart.gain
    unnamed = compared(*([replace(one, images=()) for one in arm] for arm in (ours, theirs)))
    assert unnamed == apart


def test_several_shots_of_a_seed_are_one_row() -> None:
    few = [result(seed, 0.5 + 0.1 * seed) for seed in range(3)]
    many = [replace(result(seed, 0.7 + 0.1 * seed), shots=4) for seed in range(3)]
    base = [replace(result(seed, 0.4), shots=shots) for seed in range(3) for shots in (2, 4)]
    found = compared([*few, *many], base)
    assert (found.by_seed.mean, found.by_seed.low) == pytest.approx(
        (interval([0.2, 0.3, 0.4]).mean, interval([0.2, 0.3, 0.4]).low)
    )
    assert found.gain.mean == pytest.approx(0.3)


def test_tables_without_images_are_compared_by_seed() -> None:
    ours = [replace(result(seed, 0.5 + 0.1 * seed), right=()) for seed in range(3)]
    theirs = [replace(result(seed, 0.4), right=()) for seed in range(3)]
    found = compared(ours, theirs)
    assert found.gain == found.by_seed
    assert found.gain.mean == pytest.approx(0.2)
    assert found.chance_of_no_gain is None


def test_the_gain_of_a_class_is_over_the_seeds() -> None:
    ours = [replace(result(seed, 0.5), class_accuracy=(0.5 + seed / 8, float("nan"))) for seed in range(3)]
    theirs = [replace(result(seed, 0.5), class_accuracy=(0.5, 0.5)) for seed in range(3)]
    assert class_gains(paired(ours, theirs)) == {"red": interval([0.0, 0.125, 0.25])}


def test_the_arms_of_a_study_are_summarized_and_compared_by_shots() -> None:
    def arm(name: str, more: float) -> list[TrialResult]:
        return [
            replace(result(seed, 0.5 + more), arm=name, shots=shots, synthetic_images=10 * seed)
            for shots in (1, None)
            for seed in range(3)
        ]

    found = compare_arms([*arm("real", 0.0), *arm("dalda", 0.2)], "real")
    assert list(found) == ["real", "dalda"]
    assert list(found["dalda"].summaries) == ["1", "all"]
    assert found["real"].gains == {}
    assert found["real"].overall is None
    assert found["dalda"].gains["all"].gain.mean == pytest.approx(0.2)
    assert found["dalda"].overall is not None
    assert found["dalda"].overall.outcome == "gained"
    assert found["dalda"].summaries["1"].synthetic_images == 10
    assert compare_arms(arm("dalda", 0.2), None)["dalda"].overall is None


def test_an_arms_accuracy_never_leaves_the_scale() -> None:
    found = summarize([result(0, 0.5), result(1, 1.0)])
    assert (found.accuracy.low, found.accuracy.high) == (0.0, 1.0)
    assert found.class_accuracy["red"] == Interval(1.0, 1.0, 1.0)


def test_trials_of_different_classes_are_no_seeds_of_one_arm() -> None:
    other = replace(result(1, 0.5), classes=("red",), class_accuracy=(1.0,))
    with pytest.raises(UserError, match="the trials of 'arm' have different classes"):
        summarize([result(0, 0.5), other])


@pytest.mark.filterwarnings("error")
def test_no_class_accuracy_is_no_warning() -> None:
    bare = replace(result(0, 0.5), classes=(), class_accuracy=())
    assert np.isnan(summarize([bare]).macro_accuracy.mean)
