"""Accuracies of classifiers and the confidence intervals of their means."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dalda.types import Interval

CONFIDENCE = 0.95


def confusion(predicted: ArrayLike, labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts of images by true class (row) and predicted class (column), [classes, classes]."""
    cells = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error (Guo et al., arXiv 1706.04599) of probabilities [images, classes]."""
    probabilities = np.asarray(probabilities, float)
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == np.asarray(labels)
    cell = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(cell, weights=correct, minlength=bins)
    gap = gap - np.bincount(cell, weights=confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and the degrees of freedom of Student's t; None for one value."""

    mean: float
    error: float | None
    degrees: float | None

    @property
    def interval(self) -> Interval:
        from scipy.special import stdtrit

        if self.error is None or self.degrees is None:
            return Interval(self.mean, None, None)
        half = float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2)) * self.error if self.error else 0.0
        return Interval(self.mean, self.mean - half, self.mean + half)


def estimate_of(values: ArrayLike) -> Estimate:
    """The mean of independent values (one per seed), [seeds]."""
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, None, None)
    return Estimate(mean, float(values.std(ddof=1)) / len(values) ** 0.5, len(values) - 1)


def interval(values: ArrayLike) -> Interval:
    """Student's t interval of the mean of independent values (one per seed), [seeds]."""
    return estimate_of(values).interval


def accuracy_interval(values: ArrayLike) -> Interval:
    """The interval of a mean accuracy, which cannot leave [0, 1]."""
    free = interval(values)
    if free.low is None or free.high is None:
        return free
    return Interval(free.mean, max(free.low, 0.0), min(free.high, 1.0))
