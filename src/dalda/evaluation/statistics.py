"""What the numbers of trials mean: accuracies, intervals, differences, and the sentence about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dalda.errors import UserError
from dalda.seeding import generator_of
from dalda.types import TrialResult

CONFIDENCE = 0.95
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; with a single value the interval is the whole line."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def per_class(right: ArrayLike, truth: ArrayLike, classes: int) -> NDArray[np.float64]:
    """The share per class, [classes]; NaN where a class has no image."""
    truth = np.asarray(truth)
    counts = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth, weights=np.asarray(right, float), minlength=classes)
    shares: NDArray[np.float64] = np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)
    return shares


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


def accuracy_interval(values: ArrayLike) -> Interval:
    """The interval of a mean accuracy or other share, which cannot leave [0, 1]."""
    found = interval(values)
    if not np.isfinite(found.low):
        return found
    return Interval(found.mean, max(found.low, 0.0), min(found.high, 1.0))


def paired(
    results: Sequence[TrialResult], others: Sequence[TrialResult]
) -> tuple[list[TrialResult], list[TrialResult]]:
    """The results of two arms, matched by (data set, shots, seed) and ordered by it.

    Raises `UserError` where the arms do not cover the same trials or the same validation images.
    """
    first = {(one.dataset, one.shots or 0, one.seed): one for one in results}
    second = {(one.dataset, one.shots or 0, one.seed): one for one in others}
    if first.keys() != second.keys() or not first:
        raise UserError("The arms cannot be compared: they were not run with the same seeds and shots.")
    keys = sorted(first)
    if not all(measured_alike(first[key], second[key]) for key in keys):
        raise UserError(
            "The arms cannot be compared: they were not measured on the same validation images."
        )
    return [first[key] for key in keys], [second[key] for key in keys]


def measured_alike(one: TrialResult, other: TrialResult) -> bool:
    """Whether two trials were measured on the same validation images, as far as both tell."""
    known = bool(one.images and other.images)
    return len(one.right) == len(other.right) and (not known or one.images == other.images)


@dataclass(frozen=True)
class Gains:
    """What one arm gains over another, by seed and by validation image."""

    means: Numbers
    """Each seed's mean gain in accuracy, [seeds]."""
    parts: Numbers
    """How far each image moves each seed's mean from where its other images have it, [seeds, images]; 0
    where a seed was not measured on an image. Scaled so that the squares of a row add up to the variance of
    the seed's mean over images."""

    @property
    def mean(self) -> float:
        return float(self.means.mean())


def gains_of(results: Sequence[TrialResult], others: Sequence[TrialResult]) -> Gains:
    """The gains of `results` over `others`; the trials of a seed at several shots are averaged.

    Images that the results do not name are taken to be each seed's own. Raises `UserError` where the arms
    cannot be compared.
    """
    rows: dict[tuple[str, int], list[tuple[TrialResult, TrialResult]]] = {}
    for one, other in zip(*paired(results, others), strict=True):
        rows.setdefault((one.dataset, one.seed), []).append((one, other))
    columns: dict[str, int] = {}
    found: list[tuple[int, list[int], Numbers]] = []
    for row, pairs in enumerate(rows.values()):
        for one, other in pairs:
            gain = np.asarray(one.right, float) - np.asarray(other.right, float)
            names = one.images or [f"{row} {number}" for number in range(len(gain))]
            scale = len(pairs) * np.sqrt(max(len(gain) * (len(gain) - 1), 1))
            found.append(
                (
                    row,
                    [columns.setdefault(name, len(columns)) for name in names],
                    (gain - gain.mean()) / scale,
                )
            )
    parts = np.zeros((len(rows), len(columns)))
    for row, places, part in found:
        np.add.at(parts, (row, places), part)
    means = [np.mean([one.accuracy - other.accuracy for one, other in pairs]) for pairs in rows.values()]
    return Gains(np.array(means), parts)


def difference_by_image(
    gains: Gains, generator: np.random.Generator, resamples: int = 2000
) -> tuple[Interval, float]:
    """The gain between two arms, paired by image, with a bootstrap interval and the chance of no gain.

    Images are resampled with all their seeds. The chance is the share of resamples in which the gain is not
    above zero.
    """
    # An image's part takes few values: resampling how many images have each is the same bootstrap.
    values, counts = np.unique(gains.parts.mean(0).round(12), return_counts=True)
    images = int(counts.sum())
    means = gains.mean + generator.multinomial(images, counts / images, size=resamples) @ values
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # Sums of floats that cancel may miss zero by rounding, and a tie is no gain.
    return Interval(gains.mean, float(low), float(high)), float((means <= 1e-9).mean())


def difference(gains: Gains) -> Interval:
    """The gain between two arms, paired by seed and by image, that new seeds and new images would show.

    Two-way random effects, where seeds may share all images, some, or none: the variance of the mean is
    that of the seeds' means over their number, plus what any two seeds have in common by their images. The
    degrees of freedom are Satterthwaite's, lessened for few seeds. One seed tells no interval.
    """
    seeds, images = gains.parts.shape
    if seeds < 2 or images < 2:
        return Interval(gains.mean, -np.inf, np.inf)
    of_seeds = float(gains.means.var(ddof=1)) / seeds
    together, apart = float((gains.parts.sum(0) ** 2).sum()), float((gains.parts**2).sum())
    shared = (together - apart) / (seeds * (seeds - 1))
    # Estimates may cancel beyond what is possible: never below the smaller of the two shares, nor, where
    # the seeds agree to the digit, without the chance of each image.
    variance = max(of_seeds + shared, min(of_seeds, together / seeds**2)) or apart / seeds**2
    if variance == 0:
        return Interval(gains.mean, gains.mean, gains.mean)
    # Few seeds tell their share only roughly, and where it comes out too small Satterthwaite promises a
    # little too much: the factor brings simulated intervals back to 95 %
    # (tests/evaluation/test_intervals.py).
    rough = 1 - 1 / (2 * seeds)
    terms = np.array([of_seeds, together / (seeds * (seeds - 1))])
    spread = float((terms**2 / [seeds - 1, images - 1]).sum())
    degrees = max(rough * variance**2 / spread, seeds - 1) if spread else np.inf
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * np.sqrt(variance))
    return Interval(gains.mean, gains.mean - half, gains.mean + half)


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


def compare(results: Sequence[TrialResult], others: Sequence[TrialResult], *, seed: int = 0) -> Comparison:
    """All that two arms' results tell about their difference; `seed` is the bootstrap's.

    Raises `UserError` where they do not cover the same seeds, shots and validation images.
    """
    gains = gains_of(results, others)
    by_image, chance = difference_by_image(gains, generator_of(seed, "bootstrap"))
    return Comparison(
        results[0].arm, others[0].arm, difference(gains), interval(gains.means), by_image, chance
    )


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
