"""What the user says, checked strictly, in one place for the command line and for Python."""

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
    rule: Literal["reference", "stratified"] = "reference"


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


class CaptionConfig(Strict):
    """Captions for the classes of a data set or of a list."""

    out: Path
    dataset: str | None = None
    root: Path | None = None
    classes: Path | None = None
    """A text file with one class name a line, in place of a data set."""
    llm: str = "grammar"
    base_url: str | None = None
    per_class: int = Field(default=10, ge=1)
    about: str | None = None
    """One line that says what the pictures are."""
    model: str = "sd15"
    """Whose text encoder will read the captions, with its prompt prefix."""
    seed: int = Field(default=0, ge=0)
    concurrency: int = Field(default=4, ge=1)
    max_tokens_total: int | None = Field(default=None, ge=1)


class TrainConfig(DataConfig):
    """Trials: the real images alone, and with each synthetic folder, over some seeds."""

    synthetic: tuple[Path, ...] = ()
    backbone: str = "doodle"
    synthetic_probability: float = Field(default=0.5, ge=0, le=1)
    seeds: int = Field(default=1, ge=1)
    epochs: int = Field(default=50, ge=1)
    iterations: int = Field(default=200, ge=1)
    device: str = "auto"
    out: Path | None = None
    """Where results.csv and the outcomes go, if anywhere."""
