"""Which real images."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from dalda.config.roles import Content, Location


class Strict(BaseModel):
    """Unknown names are mistakes, and nothing changes once it is said."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Which examples: a folder of class folders, or a data set by name with its root."""

    dataset: str = Content(within="split")
    root: Path | None = Location(None)
    shots: int | None = Content(None, ge=1)
    """Examples per class; None is all of them."""
    seed: int = Content(0, ge=0)
    split_strategy: Literal["original", "stratified"] = Content("original")
