"""Classical augmentation of a head on cached features, chosen by cross-validation on training images."""

from dalda.evaluation.backbones.base import Backbone
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.heads.base import FeatureRows, HeadKind
from dalda.evaluation.heads.cross_validation import folds_of, likelihoods
from dalda.evaluation.heads.rows import feature_rows, mixed_rows, transformed_rows
from dalda.evaluation.transforms import BATCH_AUGMENTS
from dalda.evaluation.trial import Trial
from dalda.progress import say

COLOURS = ("randaugment", "trivialaugment")
UNCHOSEN = "trivialaugment"
"""With one image a class, where none can be left out: it has nothing to tune (arXiv 2103.10158)."""


def augmented_rows(trial: Trial, store: FeatureStore, head: HeadKind) -> FeatureRows:
    """The rows of the augmentation under which left-out images are likeliest."""
    folds = folds_of(feature_rows(trial, store), trial.seed)
    if not folds:
        return transformed_rows(trial, store, UNCHOSEN)
    found = {name: transformed_rows(trial, store, name) for name in COLOURS}
    if isinstance(store.backbone, Backbone):
        found |= {name: mixed_rows(trial, store, name) for name in BATCH_AUGMENTS}
    score = {name: float(likelihoods(rows, folds, head.candidates).max()) for name, rows in found.items()}
    best = max(score, key=lambda name: score[name])
    say(f"{trial.arm}, seed {trial.seed}: {best} is the best of {', '.join(score)} by cross-validation")
    return found[best]
