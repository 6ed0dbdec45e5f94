"""The baselines of a trial: what can be had from the real images without any synthetic one."""

from dataclasses import replace

from dalda.evaluation.backbones.base import FeatureExtractor, ZeroShot
from dalda.evaluation.heads.table import LINEAR, ZERO_SHOT, default_head
from dalda.evaluation.trial import Trial

BASELINES = {
    ZERO_SHOT: "the class names alone, where the backbone reads them",
    "real": "the real images",
    "real-linear": "the real images, a linear head with the paper's schedule",
    "real-augmented": "the real images under the best classical augmentation",
}
"""The arms without synthetic images, and what they learn from."""


def baselines_of(real: Trial, head: str, backbone: FeatureExtractor) -> list[Trial]:
    """The trial of real images alone as `head` trains it, and the other baselines beside it."""
    trials = [real]
    if isinstance(backbone, ZeroShot):
        trials.insert(0, replace(real, arm=ZERO_SHOT, head=ZERO_SHOT))
    if head != LINEAR:
        trials.append(replace(real, arm="real-linear", head=LINEAR))
    own = default_head(backbone) if head == LINEAR else head
    return [*trials, replace(real, arm="real-augmented", head=own, classical=True)]
