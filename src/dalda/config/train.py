"""The training and evaluation of classifiers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dalda.config.data import DataConfig, Strict
from dalda.config.roles import Content, Execution, Location
from dalda.types import SCRATCH

Mixing = Literal[
    "per-image-replacement", "global-replacement", "concatenation", "synthetic-only", "two-term-loss"
]
"""The ways to use synthetic images, named as in arXiv 2603.08364; docs/trials.md says what each is."""


SCRATCH_SCHEDULE: Mapping[str, Any] = {"finetune": "full", "epochs": 10, "iterations": 50}
"""How `scratch` is trained unless another schedule is asked for."""


FEATURES_NEEDED = ("filter_by_classifier", "classifier_weighting")
"""Options that look at images through a backbone before it has learned."""


class ScheduleConfig(Strict):
    """The schedule of the linear head; no other head has steps."""

    head_init: Literal["zero-shot", "random"] = Content("zero-shot")
    """The head's start: CLIP's zero-shot classifier, or random; without text features always random."""
    epochs: int = Content(50, ge=1)
    """Epochs of the linear head, of `iterations` steps each."""
    iterations: int = Content(200, ge=1)
    """Steps per epoch."""
    batch_size: int = Content(32, ge=1)
    """Images per step."""


class ClassifierConfig(ScheduleConfig):
    """How a classifier is trained, the same for every arm."""

    backbone: str | None = Content(None, within="backbone")
    """A backbone (docs/trials.md), a folder or a Hub id; by default the one that fits the data set. scratch
    is a small network that is trained from nothing."""
    head: Literal["auto", "linear", "constrained", "cross-validated", "tip-adapter", "lp++"] = Content(
        "auto", within="head"
    )
    """The head on frozen features (docs/evaluation.md); auto is constrained for backbones that read class
    names, cross-validated for others, and linear with an option of its schedule."""
    finetune: Literal["head", "full", "lora"] = Content("head")
    """What is trained: the head on frozen features, the full model, or a LoRA."""
    batch_augment: Literal["none", "mixup", "cutmix"] = Content("none")
    """Augmentation of pairs of images."""
    feature_views: Annotated[int, Field(ge=1, le=1000)] | Literal["online"] = Content(8)
    """Augmented views per image whose features are cached; online draws fresh ones at each step."""
    transforms: Literal["standard", "jitter", "randaugment", "trivialaugment"] = Content("standard")
    """Transforms of a view: flip and rotation, then also colour jitter, RandAugment or
    TrivialAugment."""

    @property
    def stepwise(self) -> bool:
        """Whether an option asks for what only the linear head has."""
        schedule = ScheduleConfig.model_fields
        return self.online or any(getattr(self, name) != schedule[name].default for name in schedule)

    @model_validator(mode="before")
    @classmethod
    def _from_scratch(cls, values: object) -> object:
        if isinstance(values, Mapping) and values.get("backbone") == SCRATCH:
            return {**SCRATCH_SCHEDULE, **values}
        return values

    @model_validator(mode="after")
    def _has_features(self) -> "ClassifierConfig":
        asked = [name for name in FEATURES_NEEDED if getattr(self, name, False)]
        if self.backbone == SCRATCH and (asked or self.finetune != "full"):
            option = asked[0] if asked else f"finetune {self.finetune}"
            raise ValueError(
                f"the backbone scratch has no features yet, which {option} needs; leave that out"
            )
        return self

    @model_validator(mode="after")
    def _one_head(self) -> "ClassifierConfig":
        if self.head not in ("auto", "linear") and self.stepwise:
            raise ValueError(
                f"the head {self.head} learns from all features at once: it has no epochs, iterations, "
                "batch size, start, fresh views or finetuning; leave those out or use the head linear"
            )
        return self

    @property
    def online(self) -> bool:
        """Whether fresh views are drawn at each step; a moving backbone and mixed pixels need them."""
        return self.feature_views == "online" or self.finetune != "head" or self.batch_augment != "none"


class UsageConfig(Strict):
    """How a trial uses its synthetic images, which may differ between the arms of a study.

    What is not set is the method's own (docs/methods.md).
    """

    mixing: Mixing = Content("per-image-replacement")
    """How synthetic images enter the batches (docs/trials.md)."""
    synthetic_probability: float = Content(0.5, ge=0, le=1)
    """How often a synthetic image replaces its real one; for two-term-loss the weight of the second
    term."""
    min_clip_probability: float | None = Content(None, ge=0, le=1)
    """Excludes synthetic images with a smaller CLIP class probability."""
    filter_by_classifier: bool = Content(False)
    """Excludes synthetic images that the real-only classifier assigns to another class."""
    clip_weighting: bool = Content(False)
    """Weights each synthetic image's loss by its CLIP class probability, scaled to a mean of 1."""
    classifier_weighting: bool = Content(False)
    """Weights each synthetic image's loss by the real-only classifier's calibrated probability of its
    class: 1 from 0.5 on, twice the probability below, scaled to a mean of 1 among its source's images."""
    soft_labels: bool = Content(True)
    """Trains with the main class alone where an image's label is shared by two."""
    real_replay: bool = Content(False)
    """Uses the real image in place of each of its synthetic images: the same draws, nothing new."""
    ignore_review: bool = Content(False)
    """Keeps images that were rejected in dalda review."""


class TrainConfig(ClassifierConfig, UsageConfig, DataConfig):
    """Trials: the real images alone, and with each synthetic folder, over some seeds."""

    synthetic: tuple[Path, ...] = Content((), within="sets")
    """A folder of dalda augment; repeat it for more."""
    seeds: int = Content(5, ge=1, extent=True)
    """Classifiers per arm, on successive seeds."""
    baselines: bool = Content(True, extent=True)
    """Compares with real images alone, without the other baselines of docs/evaluation.md."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""
    out: Path | None = Location(None)
    """The folder for results, new or to be resumed."""


class PredictConfig(Strict):
    """New images for a trained classifier."""

    classifier: Path = Location()
    """A folder of dalda train -o or dalda run, or one of the files in its folder classifiers."""
    images: tuple[Path, ...] = Location(min_length=1)
    """Images, and folders of images."""
    out: Path | None = Location(None)
    """A new .csv or .json file."""
    backbone: str | None = Location(None)
    """Where the classifier's backbone is, if not where it was in training; it must be the same one."""
    on_bad_image: Literal["skip", "stop"] = Content("stop")
    """What happens at an image that cannot be used."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""


class EvaluateConfig(DataConfig):
    """A synthetic set against the real images of a data set."""

    synthetic: Path = Content(within="sets")
    """A folder of dalda augment."""
    split: Literal["train", "val"] = Content("train")
    """The part of the data set that is compared."""
    backbone: str | None = Content(None, within="backbone")
    """The backbone of the features, as in dalda train."""
    ignore_review: bool = Content(False)
    """Keeps images that were rejected in dalda review."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""
