"""The backbones by name."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dalda.errors import UserError
from dalda.plugins import plugins_of
from dalda.registry import Registry
from dalda.terminal import did_you_mean
from dalda.types import SCRATCH

ENTRY_POINTS = "dalda.backbones"
"""Group in which other packages name a function `(device) -> nn.Module or FeatureExtractor`."""


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


def refuse_unknown_backbone(backbone: str) -> None:
    """Raises UserError for what is neither a name, nor a folder, nor like a Hub id, which has one slash."""
    if backbone in ROWS or backbone.count("/") == 1 or Path(backbone).exists():
        return
    names = [*ROWS, SCRATCH, *plugins_of(ENTRY_POINTS)]
    if backbone not in names:
        near = did_you_mean(backbone, names)
        choices = f"; name one of {', '.join(names)}, a folder or a Hub id with --backbone"
        raise UserError(f"there is no backbone '{backbone}'{near or choices}")
