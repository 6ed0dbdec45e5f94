"""`lp++`: a linear probe blended with the texts, class by class.

LP++ (Huang et al., arXiv 2404.02285): logits are `w_k . f + a_k (t_k . f)`; weights start at the class
means, all `a_k` at one data-dependent value, and both descend the full-batch cross-entropy at steps that
their Lipschitz constants give. The published code reports the best epoch of a validation set; this is the
last one.
"""

import numpy as np
from scipy.special import softmax

from dalda.evaluation.classifier import Head
from dalda.evaluation.features import normalized
from dalda.evaluation.heads.base import FeatureRows, HeadKind, alone, tensors

STEPS = 300
MOMENTUM = 0.9
BLEND_EVERY = 10
"""Steps of the weights for each step of the blend."""
BLEND_START = 250.0
"""The start of the blend, times the mean cosine of an image with its class's text."""


def fit_lpp(rows: FeatureRows, seed: int) -> Head:
    assert rows.text is not None
    features, targets, weights = normalized(rows.features), rows.targets, rows.weights[:, None]
    cosines = features @ rows.text.T
    counts = np.maximum((weights * targets).sum(0), np.finfo(np.float64).tiny)
    weight = (weights * targets).T @ features / counts[:, None]
    bias, speed = np.zeros(len(weight)), [np.zeros_like(weight), np.zeros(len(weight))]
    own = (weights * targets * cosines).sum(0) / counts
    blend = np.full(len(weight), BLEND_START * float(own.mean()))
    rate = 4 / float(np.linalg.eigvalsh((features * weights).T @ features)[-1])
    blend_rate = 1 / (4 * float((weights * cosines**2).sum(0).max()))
    for step in range(1, STEPS + 1):
        error = weights * (softmax(features @ weight.T + bias + blend * cosines, axis=1) - targets)
        speed = [MOMENTUM * speed[0] + error.T @ features, MOMENTUM * speed[1] + error.sum(0)]
        weight, bias = weight - rate * speed[0], bias - rate * speed[1]
        if step % BLEND_EVERY == 0:
            blend = blend - blend_rate * (error * cosines).sum(0)
    return Head(*tensors(weight + blend[:, None] * rows.text, bias), normalized=True)


KIND = HeadKind(fit_lpp, alone(fit_lpp), needs_text=True)
