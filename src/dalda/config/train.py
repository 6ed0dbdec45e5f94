"""Which classifiers."""

from pathlib import Path

from pydantic import Field

from dalda.config.data import DataConfig


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
