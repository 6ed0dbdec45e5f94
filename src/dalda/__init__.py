"""dalda: a few labelled pictures go in; a larger, honest folder and a better classifier come out.

The flow, in the order of the folders: `data` (data set -> few-shot split), `doodles` (the embedded
world), `guidance` (CLIP score -> lambda), `prompts` (captions), `synthesis` (plan -> images -> store),
`trials` (mix -> classifier -> numbers), `views` (what people look at). `pipeline` joins them.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "AugmentConfig": "dalda.config",
    "CaptionConfig": "dalda.config",
    "EvaluateConfig": "dalda.config",
    "ExportConfig": "dalda.config",
    "ImportConfig": "dalda.config",
    "MixedDataset": "dalda.workflows.torch_dataset",
    "ReportConfig": "dalda.config",
    "TrainConfig": "dalda.config",
    "UserError": "dalda.errors",
    "augment": "dalda.workflows.augment",
    "evaluate": "dalda.workflows.evaluate",
    "export": "dalda.workflows.export",
    "import_reference": "dalda.workflows.import_original",
    "plot": "dalda.workflows.plot",
    "preview": "dalda.workflows.augment",
    "report": "dalda.workflows.report.page",
    "review": "dalda.workflows.review",
    "run": "dalda.workflows.experiment",
    "train": "dalda.workflows.train",
    "write_captions": "dalda.workflows.captions",
    "draw_split": "dalda.datasets.few_shot",
    "catalog_of": "dalda.workflows.real_images",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from dalda.config import AugmentConfig as AugmentConfig
    from dalda.config import CaptionConfig as CaptionConfig
    from dalda.config import EvaluateConfig as EvaluateConfig
    from dalda.config import ExportConfig as ExportConfig
    from dalda.config import ImportConfig as ImportConfig
    from dalda.config import ReportConfig as ReportConfig
    from dalda.config import TrainConfig as TrainConfig
    from dalda.datasets.few_shot import draw_split as draw_split
    from dalda.errors import UserError as UserError
    from dalda.workflows.augment import augment as augment
    from dalda.workflows.augment import preview as preview
    from dalda.workflows.captions import write_captions as write_captions
    from dalda.workflows.evaluate import evaluate as evaluate
    from dalda.workflows.experiment import run as run
    from dalda.workflows.export import export as export
    from dalda.workflows.import_original import import_reference as import_reference
    from dalda.workflows.plot import plot as plot
    from dalda.workflows.real_images import catalog_of as catalog_of
    from dalda.workflows.report.page import report as report
    from dalda.workflows.review import review as review
    from dalda.workflows.torch_dataset import MixedDataset as MixedDataset
    from dalda.workflows.train import train as train


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import dalda` is quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dalda' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
