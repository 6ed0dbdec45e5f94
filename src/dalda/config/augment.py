"""Which synthetic images."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from dalda.config.data import DataConfig


class AugmentConfig(DataConfig):
    """A synthetic set: for each example, `per_image` new pictures."""

    out: Path
    model: str = "doodle"
    adapter: str | None = None
    """A folder or Hub id of an IP-Adapter in place of the preset's, with `:file` for one file of it."""
    method: Literal["dalda"] = "dalda"
    captions: Path | None = None
    """A caption file; without one the grammar writes captions."""
    guidance: str = "adaptive"
    sampling: Literal["truncated", "clipped"] = "truncated"
    per_image: int = Field(default=10, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    steps: int | None = Field(default=None, ge=1, le=999)
    batch_size: int | None = Field(default=None, ge=1)
    """Images rendered together; None lets the engine choose."""
    device: str = "auto"
