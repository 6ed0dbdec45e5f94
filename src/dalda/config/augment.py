"""Which synthetic images."""

from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from dalda.config.data import DataConfig
from dalda.config.roles import Content, Execution, Location
from dalda.registry import DEFAULT_MODEL


class AugmentConfig(DataConfig):
    """A synthetic set: for each example, `per_image` new images."""

    out: Path = Location()
    model: str = Content(DEFAULT_MODEL, within="preset")
    adapter: str | None = Content(None, within="preset")
    """A folder or Hub id of an IP-Adapter in place of the preset's, with `:file` for one file of it."""
    method: Literal["dalda"] = Content("dalda")
    captions: Path | None = Content(None, within="captions")
    """A caption file; without one the grammar writes captions."""
    ip_adapter_scale: str = Content("adaptive")
    scale_sampling: Literal["truncated", "clipped"] = Content("truncated")
    per_image: int = Content(10, ge=1, extent=True)
    guidance_scale: float | None = Content(None, ge=0, le=100, within="preset")
    steps: int | None = Content(None, ge=1, le=999, within="preset")
    guidance_interval: tuple[float, float] | None = Content(None, within="preset")
    """The part of the steps that is guided, from 0 (the noise) to 1; also written as '0.2:0.8'."""
    scheduler: Literal["ddim", "dpm-solver++", "unipc", "lcm"] | None = Content(None, within="preset")
    lora: str | None = Content(None, within="preset")
    """A LoRA folder or Hub id, with `:file`, that is merged into the model."""
    vae: str | None = Content(None, within="preset")
    """An autoencoder in place of the preset's."""
    model_option: dict[str, Any] = Content(default_factory=dict, within="preset")
    """Other values for any fields of the preset, such as {"size": 768}."""
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = Execution("auto")
    channels_last: bool = Execution(False)
    compile: bool = Execution(False)
    batch_size: int | None = Execution(None, ge=1)
    """Images rendered together; None lets the engine choose."""
    format: Literal["png", "webp", "jpeg"] = Content("png")
    """How images are written: PNG without loss, the others smaller."""
    on_bad_image: Literal["skip", "stop"] = Content("stop", within="split")
    """Whether to go on without images that cannot be used."""
    device: str = Execution("auto")

    @field_validator("guidance_interval", mode="before")
    @classmethod
    def _in_two(cls, value: object) -> object:
        return tuple(value.split(":")) if isinstance(value, str) else value
