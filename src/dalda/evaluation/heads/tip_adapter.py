"""`tip-adapter`: zero-shot logits plus votes of the training images, without training.

Tip-Adapter (Zhang et al., arXiv 2207.09519): a training image votes for its class by
`exp(sharpness (cosine - 1))`, and all votes are added with one share. The published code searches both on a
validation set; here they are chosen by cross-validation on the training images.
"""

from collections.abc import Callable, Sequence

import numpy as np

from dalda.evaluation.classifier import Head
from dalda.evaluation.features import normalized
from dalda.evaluation.heads.base import FeatureRows, HeadKind, Numbers, tensors
from dalda.evaluation.heads.cross_validation import folds_of, likelihoods

PUBLISHED = (5.5, 1.0)
"""Sharpness and share of the paper's tables: those with one image a class, where none can be left out."""
SHARPNESS, SHARES = (1.0, 3.0, 5.5, 10.0, 20.0), (0.5, 1.0, 2.0, 4.0, 8.0)
CHOICES = tuple((sharpness, share) for sharpness in SHARPNESS for share in SHARES)


def fit_tip_adapter(rows: FeatureRows, seed: int) -> Head:
    assert rows.text is not None
    folds = folds_of(rows, seed)
    sharpness, share = (
        CHOICES[int(likelihoods(rows, folds, cache_candidates).argmax())] if folds else PUBLISHED
    )
    cache, votes = cache_of(rows)
    weight, bias, keys, values = tensors(
        rows.logit_scale * rows.text, np.zeros(len(rows.text)), cache, share * votes
    )
    return Head(weight, bias, normalized=True, keys=keys, values=values, sharpness=sharpness)


def cache_of(rows: FeatureRows) -> tuple[Numbers, Numbers]:
    """An image's mean feature over its views at length one [images, d], and its class [images, classes].

    Classes are multiplied by the image's weight, scaled to a mean of one.
    """
    _, image = np.unique(rows.images, return_inverse=True)
    count = int(image.max()) + 1
    keys, values = np.zeros((count, rows.features.shape[1])), np.zeros((count, rows.targets.shape[1]))
    np.add.at(keys, image, normalized(rows.features))
    np.add.at(values, image, rows.weights[:, None] * rows.targets)
    return normalized(keys), values * count


def cache_candidates(rows: FeatureRows) -> Callable[[Numbers], Sequence[Numbers]]:
    """The logits under each sharpness and share."""
    assert rows.text is not None
    keys, values = cache_of(rows)
    text = rows.logit_scale * rows.text

    def logits(features: Numbers) -> list[Numbers]:
        features = normalized(features)
        cosines = features @ keys.T - 1
        return [
            features @ text.T + share * (np.exp(sharpness * cosines) @ values)
            for sharpness, share in CHOICES
        ]

    return logits


KIND = HeadKind(fit_tip_adapter, cache_candidates, needs_text=True)
