"""`constrained`: a linear probe that stays near CLIP's zero-shot classifier, class by class.

In the manner of CLAP (Silva-Rodriguez et al., arXiv 2312.12730): a class's penalty is CLIP's mean zero-shot
probability of it on its own training images, so that a class that CLIP knows moves little; nothing is
chosen on a validation set. CLAP renormalises the weights at each step; here they are free, and the problem
is convex.
"""

from dataclasses import replace

import numpy as np
from scipy.special import softmax

from dalda.evaluation.classifier import Head
from dalda.evaluation.features import normalized
from dalda.evaluation.heads.base import FeatureRows, HeadKind, Numbers, alone, tensors
from dalda.evaluation.heads.softmax_regression import softmax_regression

STRENGTH = 100.0
"""What multiplies the penalties, the same for every data set (docs/evaluation.md)."""


def fit_constrained(rows: FeatureRows, seed: int) -> Head:
    assert rows.text is not None
    scaled = replace(rows, features=rows.logit_scale * normalized(rows.features))
    weight, _ = softmax_regression(scaled, STRENGTH * penalties(scaled, rows.text), rows.text, bias=False)
    return Head(*tensors(rows.logit_scale * weight, np.zeros(len(weight))), normalized=True)


def penalties(rows: FeatureRows, text: Numbers) -> Numbers:
    """Mean zero-shot probability of each class on its own images, scaled to a mean of 1, [classes].

    It is CLAP's "corrected" constraint: without the scale, data that CLIP knows badly would hold no class.
    """
    shares = rows.weights[:, None] * rows.targets
    totals = shares.sum(0)
    known = (shares * softmax(rows.features @ text.T, axis=1)).sum(0)
    mean: Numbers = np.divide(known, totals, out=np.ones_like(totals), where=totals > 0)
    return np.asarray(mean / mean.mean())


KIND = HeadKind(fit_constrained, alone(fit_constrained), needs_text=True)
