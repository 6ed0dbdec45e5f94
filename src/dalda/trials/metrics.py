"""What the numbers of trials mean: accuracies, intervals, differences, and the sentence about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dalda.errors import UserError
from dalda.records import Outcome
from dalda.seeding import generator_of

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; with a single value the interval is the whole line."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def micro(right: ArrayLike) -> float:
    """The share of all images that were classified rightly; `right` is [images]."""
    return float(np.mean(np.asarray(right, bool)))


def per_class(right: ArrayLike, truth: ArrayLike, classes: int) -> NDArray[np.float64]:
    """The share per class, [classes]; NaN where a class has no image."""
    truth = np.asarray(truth)
    counts = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth, weights=np.asarray(right, float), minlength=classes)
    shares: NDArray[np.float64] = np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)
    return shares


def macro(right: ArrayLike, truth: ArrayLike, classes: int) -> float:
    """The mean over classes of the share per class; classes without images do not count."""
    return float(np.nanmean(per_class(right, truth, classes)))


def confusion(seen: ArrayLike, truth: ArrayLike, classes: int) -> NDArray[np.int64]:
    """How often each true class (row) was seen as each class (column), [classes, classes]."""
    cells = np.asarray(truth) * classes + np.asarray(seen)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def calibration_error(probabilities: ArrayLike, truth: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., arXiv 1706.04599) of probabilities [images, classes]."""
    said = np.asarray(probabilities, float)
    sure = said.max(1)
    right = said.argmax(1) == np.asarray(truth)
    cell = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(cell, weights=right, minlength=bins) - np.bincount(cell, weights=sure, minlength=bins)
    return float(np.abs(gap).sum() / len(sure))


def interval(values: ArrayLike) -> Interval:
    """Student's t interval of the mean of independent values (one per seed), [seeds]."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def paired(outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """The outcomes of two arms, matched by (data set, shots, seed) and ordered by it.

    Raises `UserError` where the arms do not cover the same trials or the same validation images.
    """
    first = {(one.dataset, one.shots or 0, one.seed): one for one in outcomes}
    second = {(one.dataset, one.shots or 0, one.seed): one for one in others}
    if first.keys() != second.keys() or not first:
        raise UserError("The arms cannot be compared: they were not run with the same seeds and shots.")
    keys = sorted(first)
    if any(len(first[key].right) != len(second[key].right) for key in keys):
        raise UserError(
            "The arms cannot be compared: they were not measured on the same validation images."
        )
    return [first[key] for key in keys], [second[key] for key in keys]


def difference_by_seed(outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> Interval:
    """The mean gain of `outcomes` over `others`, paired by seed, with its t interval."""
    first, second = paired(outcomes, others)
    return interval([a.accuracy - b.accuracy for a, b in zip(first, second, strict=True)])


def difference_by_image(
    right: ArrayLike, other: ArrayLike, generator: np.random.Generator, resamples: int = 2000
) -> tuple[Interval, float]:
    """The gain between two arms, paired by image, with a bootstrap interval and the chance of no gain.

    `right` and `other` are [seeds, images]; images are resampled with all their seeds. The chance is the
    share of resamples in which the gain is not above zero.
    """
    gain = _gain(right, other).mean(0)
    # An image's gain takes few values: resampling how many images have each is the same bootstrap.
    values, counts = np.unique(gain, return_counts=True)
    means = generator.multinomial(len(gain), counts / len(gain), size=resamples) @ values / len(gain)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # Sums of floats that cancel may miss zero by rounding, and a tie is no gain.
    return Interval(float(gain.mean()), float(low), float(high)), float((means <= 1e-12).mean())


def difference(right: ArrayLike, other: ArrayLike) -> Interval:
    """The gain between two arms, paired by seed and by image, that new seeds and new images would show.

    `right` and `other` are [seeds, images]. Two-way random effects: the variance of the mean is the
    seeds' share plus the images' share less what both count twice, with Satterthwaite's degrees of
    freedom, lessened for few seeds. One seed tells no interval.
    """
    gain = _gain(right, other)
    seeds, images = gain.shape
    mean = float(gain.mean())
    if seeds < 2 or images < 2:
        return Interval(mean, -np.inf, np.inf)
    by_seed, by_image = gain.mean(1, keepdims=True), gain.mean(0, keepdims=True)
    rest = float(((gain - by_seed - by_image + mean) ** 2).sum()) / ((seeds - 1) * (images - 1))
    terms = np.array([by_seed.var(ddof=1) / seeds, by_image.var(ddof=1) / images, rest / gain.size])
    freedom = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)])
    # Estimates may cancel beyond what is possible: never below the smaller of the two shares.
    variance = max(terms[0] + terms[1] - terms[2], terms[:2].min())
    if variance == 0:
        return Interval(mean, mean, mean)
    # Few seeds tell their share only roughly, and where it comes out too small Satterthwaite promises too
    # much: the factor brings simulated intervals back to about 95 % (tests/trials/test_intervals.py).
    rough = 1 - 1 / seeds
    degrees = max(rough * variance**2 / float((terms**2 / freedom).sum()), seeds - 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Comparison:
    """One arm against another, over the same seeds and validation images."""

    arm: str
    other: str
    overall: Interval
    """For new seeds and new images: what decides whether there is a gain."""
    by_seed: Interval
    """For new seeds on these images (Student's t)."""
    by_image: Interval
    """For these classifiers on new images (bootstrap)."""
    chance_of_no_gain: float
    """Share of the bootstrap's resamples without a gain."""

    @property
    def sentence(self) -> str:
        return verdict(self.overall, arm=self.arm, other=self.other)


def compare(outcomes: Sequence[Outcome], others: Sequence[Outcome], *, seed: int = 0) -> Comparison:
    """All that two arms' outcomes tell about their difference; `seed` is the bootstrap's.

    Raises `UserError` where they do not cover the same seeds, shots and validation images.
    """
    first, second = paired(outcomes, others)
    right, other = [one.right for one in first], [one.right for one in second]
    by_image, chance = difference_by_image(right, other, generator_of(seed, "bootstrap"))
    return Comparison(
        first[0].arm,
        second[0].arm,
        difference(right, other),
        difference_by_seed(first, second),
        by_image,
        chance,
    )


def _gain(right: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """1 where only the first arm is right, -1 where only the second is, [seeds, images]."""
    return np.atleast_2d(np.asarray(right, float) - np.asarray(other, float))


def verdict(
    difference: Interval, *, arm: str = "synthetic images", other: str = "real images alone"
) -> str:
    """One sentence; it says gain or loss only where the interval excludes zero."""
    points = f"{abs(difference.mean) * 100:.1f} points"
    if not np.isfinite(difference.low):
        return f"One seed tells no interval ({difference.mean * 100:+.1f} points, {arm} against {other})."
    within = f"95 % interval {difference.low * 100:+.1f} to {difference.high * 100:+.1f}"
    if not difference.excludes_zero:
        return f"No measurable difference between {arm} and {other} ({within})."
    word = "gained" if difference.mean > 0 else "lost"
    return f"{arm[:1].upper()}{arm[1:]} {word} {points} of accuracy against {other} ({within})."
