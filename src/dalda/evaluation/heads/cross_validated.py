"""`cross-validated`: a linear probe whose weight decay is chosen by cross-validation on the few shots.

For backbones without text. Features are centred and scaled by one number, so that the decay means the same
for every backbone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from dalda.evaluation.classifier import Head
from dalda.evaluation.heads.base import FeatureRows, HeadKind, Numbers, tensors
from dalda.evaluation.heads.cross_validation import folds_of, likelihoods
from dalda.evaluation.heads.softmax_regression import softmax_regression

DECAYS = (1e-1, 1e-2, 1e-3, 1e-4)
"""From strong to weak: each fit starts where the one before ended."""
ROUGH = 60
"""Steps that are enough to choose among decays."""
UNCHOSEN = 0.01
"""The decay with one image a class, where none can be left out."""


def fit_cross_validated(rows: FeatureRows, seed: int) -> Head:
    folds = folds_of(rows, seed)
    decay = DECAYS[int(likelihoods(rows, folds, decay_candidates).argmax())] if folds else UNCHOSEN
    centre, scale = standard_of(rows)
    weight, bias = softmax_regression(_scaled(rows, centre, scale), decay)
    weight = weight / scale
    return Head(*tensors(weight, bias - weight @ centre))


def decay_candidates(rows: FeatureRows) -> Callable[[Numbers], Sequence[Numbers]]:
    """The logits under each weight decay."""
    centre, scale = standard_of(rows)
    scaled = _scaled(rows, centre, scale)
    fits: list[tuple[Numbers, Numbers]] = []
    for decay in DECAYS:
        start = fits[-1] if fits else None
        fits.append(softmax_regression(scaled, decay, start=start, steps=ROUGH, tolerance=1e-4))
    return lambda features: [(features - centre) / scale @ weight.T + bias for weight, bias in fits]


def standard_of(rows: FeatureRows) -> tuple[Numbers, float]:
    """Mean [d], and root mean square deviation over all dimensions, of the weighted rows."""
    centre = rows.weights @ rows.features
    variance = float((rows.weights @ (rows.features - centre) ** 2).mean())
    return centre, max(float(np.sqrt(variance)), np.finfo(np.float64).tiny)


def _scaled(rows: FeatureRows, centre: Numbers, scale: float) -> FeatureRows:
    return replace(rows, features=(rows.features - centre) / scale)


KIND = HeadKind(fit_cross_validated, decay_candidates)
