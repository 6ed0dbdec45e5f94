"""Choices by cross-validation on the training images alone: no validation image is used."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import log_softmax

from dalda.evaluation.heads.base import FeatureRows, Numbers
from dalda.seeding import generator_of

MAX_FOLDS = 5


def folds_of(rows: FeatureRows, seed: int) -> list[set[int]]:
    """Real images by fold, drawn within each class; none where a class has one image only."""
    images = {int(source): int(target) for source, target in _real_images(rows)}
    by_class: dict[int, list[int]] = {}
    for image, label in sorted(images.items()):
        by_class.setdefault(label, []).append(image)
    count = min(MAX_FOLDS, *(len(group) for group in by_class.values()))
    if count < 2:
        return []
    folds: list[set[int]] = [set() for _ in range(count)]
    generator = generator_of(seed, "folds")
    for group in by_class.values():
        for place, image in enumerate(generator.permutation(group)):
            folds[place % count].add(int(image))
    return folds


def _real_images(rows: FeatureRows) -> Numbers:
    labels = rows.targets.argmax(1)
    return np.stack([rows.sources[:, 0], labels], 1)[rows.real]


def likelihoods(
    rows: FeatureRows,
    folds: Sequence[set[int]],
    fit: Callable[[FeatureRows], Callable[[Numbers], Sequence[Numbers]]],
) -> Numbers:
    """Mean log-likelihood of the images that are left out, for each of a fit's choices.

    `fit` trains on rows and returns what gives the logits of features, [n, classes] for each choice. An
    image's synthetic images, and mixtures with it, are left out with it.
    """
    scores: list[list[float]] = []
    for fold in folds:
        outside = np.asarray(~np.isin(rows.sources, list(fold)).any(1), np.bool_)
        held_out = rows.real & np.isin(rows.sources[:, 0], list(fold))
        predict = fit(rows.chosen(outside))
        labels = rows.targets[held_out]
        scores.append(
            [
                float((log_softmax(logits, axis=1) * labels).sum(1).mean())
                for logits in predict(rows.features[held_out])
            ]
        )
    return np.asarray(np.mean(scores, axis=0))
