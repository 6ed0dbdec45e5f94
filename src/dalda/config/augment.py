"""Which synthetic images."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from dalda.config.data import DataConfig


class AugmentConfig(DataConfig):
    """A synthetic set: for each example, `per_image` new images."""

    out: Path
    model: str = "doodle"
    adapter: str | None = None
    """A folder or Hub id of an IP-Adapter in place of the preset's, with `:file` for one file of it."""
    method: Literal["dalda"] = "dalda"
    captions: Path | None = None
    """A caption file; without one the grammar writes captions."""
    ip_adapter_scale: str = "adaptive"
    scale_sampling: Literal["truncated", "clipped"] = "truncated"
    per_image: int = Field(default=10, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0, le=100)
    steps: int | None = Field(default=None, ge=1, le=999)
    guidance_interval: tuple[float, float] | None = None
    """The part of the steps that is guided, from 0 (the noise) to 1; also written as '0.2:0.8'."""
    scheduler: Literal["ddim", "dpm-solver++", "unipc", "lcm"] | None = None
    lora: str | None = None
    """A LoRA folder or Hub id, with `:file`, that is merged into the model."""
    vae: str | None = None
    """An autoencoder in place of the preset's."""
    model_option: dict[str, Any] = Field(default_factory=dict)
    """Other values for any fields of the preset, such as {"size": 768}."""
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    channels_last: bool = False
    compile: bool = False
    batch_size: int | None = Field(default=None, ge=1)
    """Images rendered together; None lets the engine choose."""
    format: Literal["png", "webp", "jpeg"] = "png"
    """How images are written: PNG without loss, the others smaller."""
    on_bad_image: Literal["skip", "stop"] = "stop"
    """Whether to go on without images that cannot be used."""
    device: str = "auto"

    @field_validator("guidance_interval", mode="before")
    @classmethod
    def _in_two(cls, value: object) -> object:
        return tuple(value.split(":")) if isinstance(value, str) else value
