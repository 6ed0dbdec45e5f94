"""Which classes a classifier of real images alone confuses, so that images are generated for these."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from dalda.errors import UserError
from dalda.evaluation.heads.base import FeatureRows, Numbers, tensors
from dalda.evaluation.heads.cross_validated import fit_cross_validated
from dalda.evaluation.heads.cross_validation import fold_rows, folds_of

DIGITS = 3
"""Of a class's probability: the last digits of features differ from one machine to the next."""


def hardest_classes(features: ArrayLike, labels: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    """The `count` classes whose images get the lowest probability of their class, the hardest first.

    `features` [images, d] are of the training images; each image is predicted by a linear probe that was
    trained without its fold. Equal classes come in the order of their names.
    Raises UserError for more classes than there are, and for a class with one image.
    """
    classes = sorted(set(labels))
    if count > len(classes):
        raise UserError(f"--hardest {count} is more than the {len(classes)} classes; choose fewer")
    probabilities = held_out_probabilities(np.asarray(features, float), labels, classes, seed)
    own = np.asarray(labels)
    means = {name: round(float(probabilities[own == name].mean()), DIGITS) for name in classes}
    return tuple(sorted(classes, key=lambda name: (means[name], name))[:count])


def held_out_probabilities(
    features: Numbers, labels: Sequence[str], classes: Sequence[str], seed: int
) -> Numbers:
    """Each image's probability of its own class, [images], by a probe that did not see it."""
    images = np.arange(len(labels))
    targets = np.eye(len(classes))[[classes.index(name) for name in labels]]
    rows = FeatureRows(
        features=features,
        targets=targets,
        weights=np.full(len(labels), 1 / len(labels)),
        images=images,
        sources=np.stack([images, images], 1),
        real=np.ones(len(labels), np.bool_),
    )
    folds = folds_of(rows, seed)
    if not folds:
        alone = next(name for name in classes if list(labels).count(name) == 1)
        raise UserError(
            f"--hardest tests each class on images that were left out, and '{alone}' has one image; use "
            "more --shots, or name classes with --only-classes"
        )
    found = np.zeros(len(labels))
    for training, held_out in fold_rows(rows, folds):
        head = fit_cross_validated(training, seed)
        predicted = softmax(head(*tensors(features[held_out])).double().numpy(), axis=1)
        found[held_out] = (predicted * targets[held_out]).sum(1)
    return found
