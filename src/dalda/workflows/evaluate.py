"""From a synthetic set to what can be said of it without training."""

from dalda.config import EvaluateConfig
from dalda.workflows.loading import load_features
from dalda.workflows.real_images import checked, load_dataset, split_of
from dalda.workflows.reports import EvaluateReport, NearCopy, OffClassImage
from dalda.workflows.synthetic_sets import backbone_for, synthetic_set


def evaluate(config: EvaluateConfig) -> EvaluateReport:
    """Fidelity, coverage, diversity, near-copies and strays, overall and class by class.

    A backbone that reads no text is helped out by CLIP for the CLIP class probability and the strays.
    """
    from dalda.evaluation.generative_metrics import evaluate as look

    made = synthetic_set(config.synthetic, ignore_review=config.ignore_review)
    hold_out = config.split == "val" and "val" not in load_dataset(config.dataset, config.root).parts
    split = checked(split_of(config, config.split, hold_out=hold_out))
    backbone = backbone_for(config, config.backbone)
    store = load_features(backbone, config.device)
    reader = store if store.backbone.tokenizer is not None else load_features("clip", config.device)
    found = look(split, made.samples, store, reader)
    return EvaluateReport(
        backbone=backbone,
        overall=found.overall,
        classes=found.classes,
        near_copies=tuple(
            NearCopy(look.sample.path, split.images[look.nearest].path, look.cosine)
            for look in found.looks
            if look.near_copy
        ),
        off_class=tuple(
            OffClassImage(look.sample.path, look.sample.label, str(look.seen))
            for look in found.looks
            if look.off_target
        ),
        rejected_in_review=len(made.rejected),
    )
