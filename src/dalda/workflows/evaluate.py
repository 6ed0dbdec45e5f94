"""From a synthetic set to measures that need no training."""

from dalda.config import EvaluateConfig
from dalda.errors import UserError
from dalda.evaluation.backbones.base import ZeroShot
from dalda.evaluation.features import load_features
from dalda.types import SCRATCH
from dalda.workflows.real_images import checked, split_of
from dalda.workflows.reports import EvaluateReport, NearDuplicate, OffClassImage
from dalda.workflows.synthetic_sets import backbone_for, clip_for, say_default, synthetic_set


def evaluate(config: EvaluateConfig) -> EvaluateReport:
    """Fidelity, coverage, diversity, near-duplicates and off-class images, overall and class by class.

    Class probabilities come from the backbone where it is a CLIP, else from the one that fits the data.
    """
    from dalda.evaluation.generative_metrics import measure_set

    synthetic = synthetic_set(config.synthetic, ignore_review=config.ignore_review)
    split = checked(split_of(config, config.split))
    backbone = backbone_for(config, config.backbone)
    if config.backbone is None:
        say_default(config, backbone)
    if backbone == SCRATCH:
        raise UserError(
            "the backbone scratch has no features to measure with; name another with --backbone"
        )
    store = load_features(backbone, config.device)
    clip = store if isinstance(store.backbone, ZeroShot) else load_features(clip_for(config), config.device)
    measured = measure_set(split, synthetic.images, store, clip)
    return EvaluateReport(
        backbone=backbone,
        overall=measured.overall,
        classes=measured.classes,
        near_duplicates=tuple(
            NearDuplicate(measures.image.path, split.images[measures.nearest].path, measures.cosine)
            for measures in measured.images
            if measures.is_near_duplicate
        ),
        off_class=tuple(
            OffClassImage(measures.image.path, measures.image.label, str(measures.predicted))
            for measures in measured.images
            if measures.is_off_class
        ),
        rejected_in_review=len(synthetic.rejected),
    )
