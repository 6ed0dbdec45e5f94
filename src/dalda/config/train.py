"""Which classifiers."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dalda.config.data import DataConfig, Strict

Mixing = Literal[
    "per-image-replacement", "global-replacement", "concatenation", "synthetic-only", "two-term-loss"
]
"""The ways to use synthetic images, named as in arXiv 2603.08364; docs/trials.md says what each is."""


class ClassifierConfig(Strict):
    """How a classifier is trained, the same for every arm."""

    backbone: str | None = None
    """None is `doodle` for the doodles, else `clip`."""
    finetune: Literal["head", "full", "lora"] = "head"
    head_init: Literal["zero-shot", "random"] = "zero-shot"
    """Where the head starts, for a backbone that reads; any other starts at random."""

    mixing: Mixing = "per-image-replacement"
    synthetic_probability: float = Field(default=0.5, ge=0, le=1)
    """How often a synthetic image stands in; the weight of the synthetic term of `two-term-loss`."""
    batch_augment: Literal["none", "mixup", "cutmix"] = "none"

    feature_views: Annotated[int, Field(ge=1, le=1000)] | Literal["online"] = 8
    """Augmented views per image whose features are computed once; `online` draws fresh ones at each
    step."""
    transforms: Literal["standard", "jitter", "randaugment"] = "standard"
    """What a view goes through: flip and rotation, and then nothing, colour jitter, or RandAugment."""

    epochs: int = Field(default=50, ge=1)
    iterations: int = Field(default=200, ge=1)
    """Steps per epoch."""
    batch_size: int = Field(default=32, ge=1)

    @property
    def online(self) -> bool:
        """Whether fresh views are drawn at each step; a moving backbone and mixed pixels need them."""
        return self.feature_views == "online" or self.finetune != "head" or self.batch_augment != "none"


class TrainConfig(ClassifierConfig, DataConfig):
    """Trials: the real images alone, and with each synthetic folder, over some seeds."""

    synthetic: tuple[Path, ...] = ()
    min_clip_probability: float | None = Field(default=None, ge=0, le=1)
    """Leaves out synthetic images in which CLIP sees their class with a smaller probability."""
    filter_by_classifier: bool = False
    """Leaves out synthetic images in which a classifier of the real ones alone sees another class."""
    clip_weighting: bool = False
    """Multiplies a synthetic image's loss by its CLIP class probability, scaled to a mean of 1."""
    ignore_review: bool = False
    """Keeps images that were rejected in a review."""

    seeds: int = Field(default=3, ge=1)
    """Classifiers per arm, on successive seeds."""
    device: str = "auto"
    out: Path | None = None
    """Where results.csv and the results go, if anywhere."""


class EvaluateConfig(DataConfig):
    """A synthetic set against the real images of a data set."""

    synthetic: Path
    split: Literal["train", "val"] = "train"
    backbone: str | None = None
    """Whose features are compared; None is `doodle` for the doodles, else `clip`."""
    ignore_review: bool = False
    device: str = "auto"
