"""What people write in Python: `dalda.augment("photos", out="more", model="sd15")`.

Each function takes a configuration, or what the command takes: the same words, options as keywords.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from dalda.config import (
    AugmentConfig,
    CaptionConfig,
    EvaluateConfig,
    ExportConfig,
    InspectConfig,
    PushConfig,
    ReportConfig,
    TrainConfig,
)
from dalda.errors import UserError
from dalda.storage import path_of
from dalda.terminal import did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from dalda.captions.generate import CaptionReport
    from dalda.captions.llm import LanguageModel
    from dalda.evaluation.backbones.base import FeatureExtractor
    from dalda.generation.backends.base import ImageGenerator
    from dalda.generation.executors.base import Executor
    from dalda.workflows.inspect_dataset import DatasetReport
    from dalda.workflows.loaded_set import LoadedSet
    from dalda.workflows.push import PushReport
    from dalda.workflows.reports import AugmentReport, EvaluateReport, ExportReport, PageReport, TrainReport

Config = TypeVar("Config", bound=BaseModel)
Place = str | Path


def augment(
    dataset: Place | AugmentConfig,
    *,
    generator: "ImageGenerator | None" = None,
    executor: "Executor | None" = None,
    captions: Place | Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> "AugmentReport":
    """Generates a synthetic set, or what is missing of it, as `dalda augment` does.

    `generator` is any object with the protocol `ImageGenerator`, in place of the option `model`; `captions`
    is a caption file, or the captions of each class: `{"heron": ["a photo of a heron in the reeds"]}`.
    """
    from dalda.workflows.augment import augment as run

    texts = captions if isinstance(captions, Mapping) else None
    if texts is None and captions is not None:
        options["captions"] = captions
    return run(_config(AugmentConfig, "dataset", dataset, options), generator, executor, texts)


def train(
    dataset: Place | TrainConfig,
    *,
    backbone: "nn.Module | FeatureExtractor | str | None" = None,
    **options: Any,
) -> "TrainReport":
    """Trains and compares classifiers, as `dalda train` does; `backbone` may be a module of your own."""
    from dalda.workflows.train import train as run

    if isinstance(backbone, str):
        options, backbone = {**options, "backbone": backbone}, None
    return run(_config(TrainConfig, "dataset", dataset, options), backbone=backbone)


def write_captions(
    dataset: Place | CaptionConfig, *, llm: "LanguageModel | str | None" = None, **options: Any
) -> "CaptionReport":
    """Writes captions for every class, as `dalda captions` does; `llm` may be an object of your own."""
    from dalda.workflows.captions import write_captions as run

    if isinstance(llm, str):
        options, llm = {**options, "llm": llm}, None
    return run(_config(CaptionConfig, "dataset", dataset, options), llm)


def evaluate(synthetic: Place | EvaluateConfig, **options: Any) -> "EvaluateReport":
    """Measures a synthetic set against the real images of `dataset`, as `dalda evaluate` does."""
    from dalda.workflows.evaluate import evaluate as run

    return run(_config(EvaluateConfig, "synthetic", synthetic, options))


def inspect(dataset: Place | InspectConfig, **options: Any) -> "DatasetReport":
    """Looks at a data set and its split, as `dalda inspect` does."""
    from dalda.workflows.inspect_dataset import inspect_dataset as run

    return run(_config(InspectConfig, "dataset", dataset, options))


def report(*places: Place | ReportConfig, **options: Any) -> "PageReport":
    """Writes one page about runs and synthetic sets, as `dalda report` does."""
    from dalda.workflows.report import report as run

    given = places[0] if len(places) == 1 and isinstance(places[0], ReportConfig) else places
    return run(_config(ReportConfig, "places", given, options))


def export(source: Place | ExportConfig, **options: Any) -> "ExportReport":
    """Exports a synthetic set for other tools, as `dalda export` does."""
    from dalda.workflows.export import export as run

    return run(_config(ExportConfig, "source", source, options))


def push(source: Place | PushConfig, name: str = "", **options: Any) -> "PushReport":
    """Uploads a synthetic set to the Hugging Face Hub, as `dalda push` does; private unless confirmed."""
    from dalda.workflows.push import push as run

    return run(_config(PushConfig, "source", source, {**({"name": name} if name else {}), **options}))


def load(synthetic: Place, *, ignore_review: bool = False) -> "LoadedSet":
    """The images of a folder of `dalda augment`, without those that were rejected in a review."""
    from dalda.workflows.loaded_set import LoadedSet
    from dalda.workflows.synthetic_sets import synthetic_set

    return LoadedSet(synthetic_set(path_of(synthetic), ignore_review=ignore_review).images)


def _config(model: type[Config], first: str, given: object, options: dict[str, Any]) -> Config:
    """The configuration, as given or from options. Raises UserError for the first wrong option."""
    if isinstance(given, model):
        if options:
            raise UserError(f"give '{next(iter(options))}' in the {model.__name__}, or options alone")
        return given
    values = {first: str(given) if isinstance(given, Path) else given, **options}
    for name in values:
        if name not in model.model_fields:
            raise UserError(f"there is no option '{name}'{did_you_mean(name, model.model_fields)}")
        annotation = str(model.model_fields[name].annotation)
        if annotation.startswith("tuple[") and isinstance(values[name], str | Path):
            values[name] = (values[name],)
    try:
        return model(**values)
    except ValidationError as error:
        mistake = error.errors()[0]
        name = ".".join(map(str, mistake["loc"]))
        message = str(mistake["msg"]).removeprefix("Value error, ")
        if not name:  # of options that do not go together
            raise UserError(message) from None
        if mistake["type"] == "missing":
            raise UserError(f"'{name}' is missing; give it") from None
        raise UserError(f"{name} cannot be {mistake['input']!r:.80}: {message}") from None
