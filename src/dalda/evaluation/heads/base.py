"""What a head on cached features learns from, and the heads by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalda.evaluation.classifier import Head

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureRows:
    """Features of augmented views, each a row, with all that a head may use."""

    features: Numbers
    """[n, d]"""
    targets: Numbers
    """Shares of classes, [n, classes]; each row adds up to one."""
    weights: Numbers
    """Of each row's loss, [n]; they add up to one."""
    images: NDArray[np.int64]
    """A number for each image, the same for all its views, [n]."""
    sources: NDArray[np.int64]
    """The real images that a row shows or was made from, [n, 2]; twice the same where it is one."""
    real: NDArray[np.bool_]
    """Rows that show one real image as it is, but for flip and rotation, [n]."""
    text: Numbers | None = None
    """Directions of the class names' text features, [classes, d]; None without a text tower."""
    logit_scale: float = 1.0
    """What multiplies a cosine to give CLIP's logit."""

    def chosen(self, mask: NDArray[np.bool_]) -> "FeatureRows":
        """Some of the rows; their weights add up to one again."""
        weights = self.weights[mask]
        return replace(
            self,
            features=self.features[mask],
            targets=self.targets[mask],
            weights=weights / weights.sum(),
            images=self.images[mask],
            sources=self.sources[mask],
            real=self.real[mask],
        )


Fit = Callable[[FeatureRows, int], Head]
"""Trains a head on the rows, with a seed for what is drawn."""
Candidates = Callable[[FeatureRows], Callable[[Numbers], Sequence[Numbers]]]
"""Trains every variant that cross-validation may choose; gives the logits [n, classes] of each."""


@dataclass(frozen=True)
class HeadKind:
    """A way to train a head on cached features."""

    fit: Fit
    candidates: Candidates
    needs_text: bool = False


def tensors(*values: Numbers) -> tuple[Tensor, ...]:
    """As single-precision tensors."""
    return tuple(torch.from_numpy(np.asarray(value)).float() for value in values)


def alone(fit: Fit) -> Candidates:
    """The candidates of a head of which there is nothing to choose."""

    def candidates(rows: FeatureRows) -> Callable[[Numbers], Sequence[Numbers]]:
        head = fit(rows, 0)
        return lambda features: [head(*tensors(features)).double().numpy()]

    return candidates
