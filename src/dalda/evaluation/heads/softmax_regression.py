"""Softmax regression with a pull on its weights: a convex problem with one solution."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import log_softmax

from dalda.evaluation.heads.base import FeatureRows, Numbers

STEPS, TOLERANCE = 500, 1e-6
"""Of L-BFGS: at most so many, until no slope is larger."""


def softmax_regression(
    rows: FeatureRows,
    pull: ArrayLike,
    centre: Numbers | None = None,
    *,
    bias: bool = True,
    start: tuple[Numbers, Numbers] | None = None,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
) -> tuple[Numbers, Numbers]:
    """Weight [classes, d] and bias [classes] that minimise the loss from `start`, by L-BFGS.

    The loss is cross-entropy plus, for each class, `pull` times the squared distance of its weights from
    `centre` (zero without one). Without `bias` it stays at zero.
    """
    classes, width = rows.targets.shape[1], rows.features.shape[1]
    centre = np.zeros((classes, width)) if centre is None else centre
    strength = np.broadcast_to(np.asarray(pull, float).reshape(-1, 1), (classes, 1))
    columns = width + int(bias)
    features = np.hstack([rows.features, np.ones((len(rows.features), int(bias)))])

    def loss(flat: Numbers) -> tuple[float, Numbers]:
        values = flat.reshape(classes, columns)
        likelihoods = log_softmax(features @ values.T, axis=1)
        away = values[:, :width] - centre
        total = -float((rows.weights[:, None] * rows.targets * likelihoods).sum())
        slope = (rows.weights[:, None] * (np.exp(likelihoods) - rows.targets)).T @ features
        slope[:, :width] += 2 * strength * away
        return total + float((strength * away**2).sum()), slope.ravel()

    first = np.zeros((classes, columns))
    first[:, :width] = centre
    if start is not None:
        first[:, :width] = start[0]
        if bias:
            first[:, width] = start[1]
    found = minimize(
        loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps, "gtol": tolerance}
    )
    values = np.asarray(found.x).reshape(classes, columns)
    return values[:, :width], values[:, width] if bias else np.zeros(classes)
