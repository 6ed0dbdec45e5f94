"""Which classifiers."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dalda.config.data import DataConfig, Strict
from dalda.config.roles import Content, Execution, Location

Mixing = Literal[
    "per-image-replacement", "global-replacement", "concatenation", "synthetic-only", "two-term-loss"
]
"""The ways to use synthetic images, named as in arXiv 2603.08364; docs/trials.md says what each is."""


class ClassifierConfig(Strict):
    """How a classifier is trained, the same for every arm."""

    backbone: str | None = Content(None, within="backbone")
    """None is the one that fits the data set."""
    finetune: Literal["head", "full", "lora"] = Content("head")
    head_init: Literal["zero-shot", "random"] = Content("zero-shot")
    """Where the head starts, for a backbone that reads; any other starts at random."""
    batch_augment: Literal["none", "mixup", "cutmix"] = Content("none")
    feature_views: Annotated[int, Field(ge=1, le=1000)] | Literal["online"] = Content(8)
    """Augmented views per image whose features are computed once; `online` draws fresh ones at each
    step."""
    transforms: Literal["standard", "jitter", "randaugment"] = Content("standard")
    """What a view goes through: flip and rotation, and then nothing, colour jitter, or RandAugment."""
    epochs: int = Content(50, ge=1)
    iterations: int = Content(200, ge=1)
    """Steps per epoch."""
    batch_size: int = Content(32, ge=1)

    @property
    def online(self) -> bool:
        """Whether fresh views are drawn at each step; a moving backbone and mixed pixels need them."""
        return self.feature_views == "online" or self.finetune != "head" or self.batch_augment != "none"


class UsageConfig(Strict):
    """How a trial uses its synthetic images, which may differ between the arms of a study."""

    mixing: Mixing = Content("per-image-replacement")
    synthetic_probability: float = Content(0.5, ge=0, le=1)
    """How often a synthetic image stands in; the weight of the synthetic term of `two-term-loss`."""
    min_clip_probability: float | None = Content(None, ge=0, le=1)
    """Leaves out synthetic images in which CLIP sees their class with a smaller probability."""
    filter_by_classifier: bool = Content(False)
    """Leaves out synthetic images in which a classifier of the real ones alone sees another class."""
    clip_weighting: bool = Content(False)
    """Multiplies a synthetic image's loss by its CLIP class probability, scaled to a mean of 1."""
    ignore_review: bool = Content(False)
    """Keeps images that were rejected in a review."""


class TrainConfig(ClassifierConfig, UsageConfig, DataConfig):
    """Trials: the real images alone, and with each synthetic folder, over some seeds."""

    synthetic: tuple[Path, ...] = Content((), within="sets")
    seeds: int = Content(3, ge=1, extent=True)
    """Classifiers per arm, on successive seeds."""
    device: str = Execution("auto")
    out: Path | None = Location(None)
    """Where results.csv and the results go, if anywhere."""


class EvaluateConfig(DataConfig):
    """A synthetic set against the real images of a data set."""

    synthetic: Path = Content(within="sets")
    split: Literal["train", "val"] = Content("train")
    backbone: str | None = Content(None, within="backbone")
    """Whose features are compared; None is the one that fits the data set."""
    ignore_review: bool = Content(False)
    device: str = Execution("auto")
