"""Choices by cross-validation on the training images alone: no validation image is used."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from dalda.evaluation.heads.base import Candidates, FeatureRows, Numbers
from dalda.seeding import generator_of

MAX_FOLDS = 5


def folds_of(rows: FeatureRows, seed: int) -> list[set[int]]:
    """Real images by fold, drawn within each class; none where a class has one image only."""
    labels = rows.targets.argmax(1)
    images = zip(rows.sources[rows.real, 0].tolist(), labels[rows.real].tolist(), strict=True)
    by_class: dict[int, list[int]] = {}
    for image, label in sorted(dict(images).items()):
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


def fold_rows(
    rows: FeatureRows, folds: Sequence[set[int]]
) -> Iterator[tuple[FeatureRows, NDArray[np.bool_]]]:
    """For each fold the rows that it leaves to train on, and which rows it is measured on, [n].

    An image's synthetic images, and mixtures with it, are left out with it.
    """
    for fold in folds:
        held_out = np.isin(rows.sources, list(fold))
        yield rows.chosen(np.asarray(~held_out.any(1), np.bool_)), rows.real & held_out[:, 0]


def likelihoods(
    rows: FeatureRows,
    folds: Sequence[set[int]],
    fit: Candidates,
) -> Numbers:
    """Mean log-likelihood of the images that are left out, for each of a fit's choices.

    `fit` trains on rows and returns what gives the logits of features, [n, classes] for each choice.
    """
    scores: list[list[float]] = []
    for training, held_out in fold_rows(rows, folds):
        labels = rows.targets[held_out]
        scores.append(
            [
                float((log_softmax(logits, axis=1) * labels).sum(1).mean())
                for logits in fit(training)(rows.features[held_out])
            ]
        )
    return np.asarray(np.mean(scores, axis=0))
