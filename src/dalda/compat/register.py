"""Adds the formats and the protocol of the original DALDA code to the tables."""

from dalda.compat.splits import ORIGINAL
from dalda.config.experiment import PROTOCOL_RULES, ProtocolRules
from dalda.config.study_file import STUDY_READERS
from dalda.datasets.few_shot import SPLIT_STRATEGIES
from dalda.registry import lazy
from dalda.reporting.export_forms import EXPORT_FORMS, ExportForm
from dalda.workflows.protocols import PROTOCOLS
from dalda.workflows.results import RUN_READERS

RULES = ProtocolRules(
    name="the original DALDA code",
    fixed={"scale_sampling": "clipped", "size": "source"},
    allowed={
        "mixing": ("per-image-replacement", "global-replacement", "concatenation", "synthetic-only"),
        "clip_weighting": (False,),
        "finetune": ("head",),
        "head": ("auto", "linear"),
        "head_init": ("zero-shot",),
        "batch_augment": ("none",),
        "transforms": ("standard",),
        "scale_sampling": ("clipped",),
    },
)


STUDY_READERS.register(".py", lazy("dalda.compat.config:read_original_config"))
PROTOCOL_RULES.register("original", RULES)
EXPORT_FORMS.register(
    "original",
    ExportForm(lazy("dalda.compat.export_form:write_original"), holds_real_images=False, names_files=False),
)
RUN_READERS.register("original", lazy("dalda.compat.results:read_run"))
PROTOCOLS.register("original", lazy("dalda.compat.study:OriginalProtocol"))
SPLIT_STRATEGIES.register("original", ORIGINAL)
