"""dalda: a few labelled images go in; a larger, honest folder and a better classifier come out.

The flow, in the order of the data: `datasets` (data set -> few-shot split), `captions`, `methods` (a split
-> generation requests), `generation` (requests -> a folder of synthetic images), `evaluation` (mixing ->
classifier -> numbers), `reporting` and `review`. `workflows` joins them, a function per command.
"""

import os
from typing import TYPE_CHECKING, Any

# onnxruntime, which diffusers imports where it is installed, sends usage data to its maker otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_NAMES = {
    "dalda.api": "augment evaluate export inspect load push report train write_captions",
    "dalda.cli.output.lines": "describe",
    "dalda.compat.import_folder": "import_original",
    "dalda.config": "AugmentConfig CaptionConfig CompareConfig EvaluateConfig ExportConfig ImportConfig "
    "MergeConfig PredictConfig ReportConfig TrainConfig",
    "dalda.datasets.few_shot": "sample_few_shot",
    "dalda.datasets.registry": "load_dataset",
    "dalda.errors": "UserError",
    "dalda.workflows.classifier": "load_classifier predict",
    "dalda.workflows.compare": "compare_methods",
    "dalda.workflows.dry_run": "dry_run",
    "dalda.workflows.experiment": "run_experiment",
    "dalda.workflows.merge": "merge",
    "dalda.workflows.plot": "plot",
    "dalda.workflows.review": "review",
    "dalda.workflows.torch_dataset": "MixedDataset",
}
"""The public names of each module."""
_PUBLIC = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from dalda.api import augment as augment
    from dalda.api import evaluate as evaluate
    from dalda.api import export as export
    from dalda.api import inspect as inspect
    from dalda.api import load as load
    from dalda.api import push as push
    from dalda.api import report as report
    from dalda.api import train as train
    from dalda.api import write_captions as write_captions
    from dalda.cli.output.lines import describe as describe
    from dalda.compat.import_folder import import_original as import_original
    from dalda.config import AugmentConfig as AugmentConfig
    from dalda.config import CaptionConfig as CaptionConfig
    from dalda.config import CompareConfig as CompareConfig
    from dalda.config import EvaluateConfig as EvaluateConfig
    from dalda.config import ExportConfig as ExportConfig
    from dalda.config import ImportConfig as ImportConfig
    from dalda.config import MergeConfig as MergeConfig
    from dalda.config import PredictConfig as PredictConfig
    from dalda.config import ReportConfig as ReportConfig
    from dalda.config import TrainConfig as TrainConfig
    from dalda.datasets.few_shot import sample_few_shot as sample_few_shot
    from dalda.datasets.registry import load_dataset as load_dataset
    from dalda.errors import UserError as UserError
    from dalda.workflows.classifier import load_classifier as load_classifier
    from dalda.workflows.classifier import predict as predict
    from dalda.workflows.compare import compare_methods as compare_methods
    from dalda.workflows.dry_run import dry_run as dry_run
    from dalda.workflows.experiment import run_experiment as run_experiment
    from dalda.workflows.merge import merge as merge
    from dalda.workflows.plot import plot as plot
    from dalda.workflows.review import review as review
    from dalda.workflows.torch_dataset import MixedDataset as MixedDataset


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import dalda` is quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dalda' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
