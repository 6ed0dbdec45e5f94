"""Adds the formats and the protocol of the original DALDA code to the tables."""

from collections.abc import Sequence
from pathlib import Path

from dalda.compat.splits import ORIGINAL
from dalda.config.experiment import PROTOCOL_RULES, STUDY_READERS, ProtocolRules, Study
from dalda.datasets.few_shot import SPLIT_STRATEGIES
from dalda.reporting.export_forms import EXPORT_FORMS, ExportFolder, ExportForm, ExportImage
from dalda.types import TrialResult
from dalda.workflows.protocols import PROTOCOLS, StudyProtocol
from dalda.workflows.results import RUN_READERS

RULES = ProtocolRules(
    name="the original DALDA code",
    fixed={"scale_sampling": "clipped", "size": "source"},
    allowed={
        "mixing": ("per-image-replacement", "global-replacement", "concatenation", "synthetic-only"),
        "clip_weighting": (False,),
        "finetune": ("head",),
        "head_init": ("zero-shot",),
        "batch_augment": ("none",),
        "transforms": ("standard",),
        "scale_sampling": ("clipped",),
    },
)


def _read_study(path: Path) -> Study:
    from dalda.compat.config import read_original_config

    return read_original_config(path)


def _export(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    from dalda.compat.export_form import write_original

    write_original(images, folder)


def _read_run(folder: Path, epoch: str) -> list[TrialResult]:
    from dalda.compat.results import read_run

    return read_run(folder, epoch)


def _protocol(study: Study) -> StudyProtocol:
    from dalda.compat.study import OriginalProtocol

    return OriginalProtocol(study)


STUDY_READERS.register(".py", _read_study)
PROTOCOL_RULES.register("original", RULES)
EXPORT_FORMS.register("original", ExportForm(_export, holds_real_images=False))
RUN_READERS.register("original", _read_run)
PROTOCOLS.register("original", _protocol)
SPLIT_STRATEGIES.register("original", ORIGINAL)
