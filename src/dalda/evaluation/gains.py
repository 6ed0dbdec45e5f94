"""Gains of one arm over another, paired by seed and by validation image, with their standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalda.evaluation.statistics import CONFIDENCE, Estimate, estimate_of
from dalda.types import Interval, TrialResult

Numbers = NDArray[np.float64]
Pairs = list[tuple[TrialResult, TrialResult]]
RESAMPLES = 2000
NO_GAIN = 1e-9
"""Sums of floats that cancel may miss zero by rounding, and a tie is no gain."""


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


def paired(results: Sequence[TrialResult], others: Sequence[TrialResult]) -> Pairs:
    """The trials that two arms share, ordered; seeds that miss some of the shared shots are excluded."""
    first = {(result.dataset, result.shots or 0, result.seed): result for result in results}
    second = {(other.dataset, other.shots or 0, other.seed): other for other in others}
    shared = {key for key in first.keys() & second.keys() if _same_images(first[key], second[key])}
    shots = {key[:2] for key in shared}
    complete = [
        (dataset, few, seed)
        for dataset, few, seed in sorted(shared)
        if all((*other, seed) in shared for other in shots if other[0] == dataset)
    ]
    return [(first[key], second[key]) for key in complete]


def _same_images(result: TrialResult, other: TrialResult) -> bool:
    """Whether two trials were measured on the same validation images, as far as both say."""
    known = bool(result.images and other.images)
    return len(result.right) == len(other.right) and (not known or result.images == other.images)


def gains_of(pairs: Pairs) -> Gains:
    """The gains of paired trials; the trials of a seed at several shots are averaged.

    Images that the results do not name are taken to be each seed's own.
    """
    rows: dict[tuple[str, int], Pairs] = {}
    for result, other in pairs:
        rows.setdefault((result.dataset, result.seed), []).append((result, other))
    columns: dict[str, int] = {}
    found: list[tuple[int, list[int], Numbers]] = []
    for row, trials in enumerate(rows.values()):
        for result, other in trials:
            gain = np.asarray(result.right, float) - np.asarray(other.right, float)
            names = result.images or [f"{row} {number}" for number in range(len(gain))]
            scale = len(trials) * np.sqrt(max(len(gain) * (len(gain) - 1), 1))
            places = [columns.setdefault(name, len(columns)) for name in names]
            found.append((row, places, (gain - gain.mean()) / scale if len(gain) else gain))
    parts = np.zeros((len(rows), len(columns)))
    for row, places, part in found:
        np.add.at(parts, (row, places), part)
    means = [np.mean([one.accuracy - other.accuracy for one, other in trials]) for trials in rows.values()]
    return Gains(np.array(means), parts)


def difference_by_image(gains: Gains, generator: np.random.Generator) -> tuple[Interval, float]:
    """The gain for these classifiers on new images, by bootstrap, and the chance of no gain.

    Images are resampled with all their seeds. The chance is the share of resamples in which the gain is not
    above zero.
    """
    # An image's part takes few values: resampling how many images have each is the same bootstrap.
    values, counts = np.unique(gains.parts.mean(0).round(12), return_counts=True)
    images = int(counts.sum())
    means = gains.mean + generator.multinomial(images, counts / images, size=RESAMPLES) @ values
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(gains.mean, float(low), float(high)), float((means <= NO_GAIN).mean())


def gain_estimate(gains: Gains) -> Estimate:
    """The gain between two arms, paired by seed and by image, that new seeds and new images would show.

    Two-way random effects, where seeds may share all images, some, or none: the variance of the mean is
    that of the seeds' means over their number, plus what any two seeds have in common by their images. The
    degrees of freedom are Satterthwaite's, lessened for few seeds. One seed gives no interval; where the
    images are not known (tables without them), the interval is Student's t over the seeds.
    """
    seeds, images = gains.parts.shape
    if seeds < 2 or images == 0:
        return estimate_of(gains.means)
    if images < 2:
        return Estimate(gains.mean, None, None)
    of_seeds = float(gains.means.var(ddof=1)) / seeds
    together, apart = float((gains.parts.sum(0) ** 2).sum()), float((gains.parts**2).sum())
    shared = (together - apart) / (seeds * (seeds - 1))
    # Estimates may cancel beyond what is possible: never below the smaller of the two shares, nor, where
    # the seeds agree to the digit, without the chance of each image.
    variance = max(of_seeds + shared, min(of_seeds, together / seeds**2)) or apart / seeds**2
    if variance == 0:
        return Estimate(gains.mean, 0.0, np.inf)
    # Few seeds give their share only roughly, and where it comes out too small Satterthwaite promises a
    # little too much: the factor brings simulated intervals back to 95 %
    # (tests/evaluation/test_intervals.py).
    rough = 1 - 1 / (2 * seeds)
    terms = np.array([of_seeds, together / (seeds * (seeds - 1))])
    spread = float((terms**2 / [seeds - 1, images - 1]).sum())
    degrees = max(rough * variance**2 / spread, seeds - 1) if spread else np.inf
    return Estimate(gains.mean, float(np.sqrt(variance)), float(degrees))
