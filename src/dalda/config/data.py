"""Which real images."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Unknown names are mistakes, and nothing changes once it is said."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Which examples: a folder of class folders, or a data set by name with its root."""

    dataset: str
    root: Path | None = None
    shots: int | None = Field(default=None, ge=1)
    """Examples per class; None is all of them."""
    seed: int = Field(default=0, ge=0)
    split_strategy: Literal["original", "stratified"] = "original"
