"""The backbones by name."""

from dataclasses import dataclass

from dalda.registry import Registry


@dataclass(frozen=True)
class Row:
    """A backbone of the table: where its weights are, and how its head is trained (METHOD.md)."""

    model: str
    """A folder or Hub id."""
    optimizer: str = "adamw"
    learning_rate: float = 2e-4
    weight_decay: float = 0.1


ROWS: Registry[Row] = Registry(
    {
        "clip": Row("openai/clip-vit-base-patch16"),
        "resnet50": Row("microsoft/resnet-50", "adam", 1e-4, 0.0),
        "dinov2": Row("facebook/dinov2-base"),
    }
)
