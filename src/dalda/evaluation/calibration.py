"""The temperature of a head's probabilities (Guo et al., arXiv 1706.04599), without a validation set."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from dalda.evaluation.heads.base import FeatureRows, Fit, Numbers, tensors
from dalda.evaluation.heads.cross_validation import fold_rows, folds_of

LOWEST, HIGHEST = 0.05, 20.0
"""Of temperatures: a few images that are all classified correctly would ask for 0."""


def held_out_temperature(rows: FeatureRows, fit: Fit, seed: int) -> float:
    """The temperature under which images that the head did not see are most likely.

    They are left out of the training by cross-validation; 1 where a class has one image.
    """
    logits, targets = [], []
    for training, held_out in fold_rows(rows, folds_of(rows, seed)):
        head = fit(training, seed)
        logits.append(head(*tensors(rows.features[held_out])).double().numpy())
        targets.append(rows.targets[held_out])
    return best_temperature(np.concatenate(logits), np.concatenate(targets)) if logits else 1.0


def best_temperature(logits: Numbers, targets: Numbers) -> float:
    """That of the highest likelihood of the targets, both [images, classes], within the bounds."""

    def loss(exponent: float) -> float:
        return -float((log_softmax(logits / np.exp(exponent), axis=1) * targets).sum())

    bounds = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
