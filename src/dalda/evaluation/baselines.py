"""The baselines of a trial: what can be had from the real images without any synthetic one."""

from dataclasses import replace

from dalda.evaluation.backbones.base import FeatureExtractor, ZeroShot
from dalda.evaluation.heads.table import LINEAR, default_head
from dalda.evaluation.trial import Trial
from dalda.types import REAL, REAL_AUGMENTED, REAL_LINEAR, SCRATCH, ZERO_SHOT


def baselines_of(real: Trial, head: str, backbone: FeatureExtractor) -> list[Trial]:
    """All baselines beside the trial of real images alone, which `head` trains."""
    if backbone.name == SCRATCH:
        return [real]  # there are no features for another head
    names = [REAL, REAL_AUGMENTED] if head == LINEAR else [REAL, REAL_LINEAR, REAL_AUGMENTED]
    if isinstance(backbone, ZeroShot):
        names.insert(0, ZERO_SHOT)
    return [as_baseline(name, replace(real, arm=name), head, backbone) for name in names]


def as_baseline(name: str, trial: Trial, head: str, backbone: FeatureExtractor) -> Trial:
    """The trial as the named baseline trains it; any other name changes nothing."""
    if name == REAL_AUGMENTED:
        return replace(trial, head=default_head(backbone) if head == LINEAR else head, classical=True)
    own = {ZERO_SHOT: ZERO_SHOT, REAL_LINEAR: LINEAR}.get(name)
    return trial if own is None else replace(trial, head=own)
