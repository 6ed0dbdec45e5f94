"""The backbones by name."""

from dataclasses import dataclass, field
from typing import Literal

from dalda.registry import Registry


@dataclass(frozen=True)
class HeadRecipe:
    """How a head on a backbone is trained; the defaults are the paper's (docs/trials.md)."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 2e-4
    weight_decay: float = 0.1
    backbone_rate: float | None = None
    """Learning rate of the backbone's own weights where they learn; None is that of finetuning."""


@dataclass(frozen=True)
class Row:
    """A backbone of the table: where its weights are, and how its head is trained."""

    model: str
    """A folder or Hub id."""
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    reads_text: bool = False
    """Whether it is known, before it is loaded, to read class names."""


ROWS: Registry[Row] = Registry(
    {
        "clip": Row("openai/clip-vit-base-patch16", reads_text=True),
        "resnet50": Row("microsoft/resnet-50", HeadRecipe("adam", 1e-4, 0.0)),
        "dinov2": Row("facebook/dinov2-base"),
    }
)
