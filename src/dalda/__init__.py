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
    "MixedDataset": "dalda.pipeline.mixed",
    "ReportConfig": "dalda.config",
    "TrainConfig": "dalda.config",
    "UserError": "dalda.errors",
    "augment": "dalda.pipeline.synthetic",
    "evaluate": "dalda.pipeline.evaluating",
    "export": "dalda.pipeline.exporting",
    "import_reference": "dalda.pipeline.importing",
    "plot": "dalda.pipeline.figures",
    "preview": "dalda.pipeline.synthetic",
    "report": "dalda.pipeline.report.page",
    "review": "dalda.pipeline.reviewing",
    "run": "dalda.pipeline.study",
    "train": "dalda.pipeline.training",
    "write_captions": "dalda.pipeline.captions",
    "draw_split": "dalda.data.fewshot",
    "catalog_of": "dalda.pipeline.examples",
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
    from dalda.data.fewshot import draw_split as draw_split
    from dalda.errors import UserError as UserError
    from dalda.pipeline.captions import write_captions as write_captions
    from dalda.pipeline.evaluating import evaluate as evaluate
    from dalda.pipeline.examples import catalog_of as catalog_of
    from dalda.pipeline.exporting import export as export
    from dalda.pipeline.figures import plot as plot
    from dalda.pipeline.importing import import_reference as import_reference
    from dalda.pipeline.mixed import MixedDataset as MixedDataset
    from dalda.pipeline.report.page import report as report
    from dalda.pipeline.reviewing import review as review
    from dalda.pipeline.study import run as run
    from dalda.pipeline.synthetic import augment as augment
    from dalda.pipeline.synthetic import preview as preview
    from dalda.pipeline.training import train as train


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import dalda` is quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dalda' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
