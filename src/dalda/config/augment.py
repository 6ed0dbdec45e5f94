"""The generation of a synthetic set."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from dalda.config.cluster import ClusterConfig
from dalda.config.data import DataConfig, Shots
from dalda.config.methods import METHODS, method_names
from dalda.config.roles import Content, Execution, Location, NoneWord
from dalda.registry import DEFAULT_MODEL
from dalda.terminal import did_you_mean

BY_PROBABILITY = ("adaptive", "shuffled")
"""Scale policies that draw from the CLIP class probabilities and the shots."""
SLURM_NUMBERS = ("ID", "COUNT", "MIN", "STEP")
"""SLURM_ARRAY_TASK_...: the number of a task, how many there are, the first number, and the step from one
to the next."""


class AugmentConfig(ClusterConfig, DataConfig):
    """A synthetic set: `per_image` synthetic images of each real image."""

    out: Path = Location()
    """The folder of the synthetic set, new or to be resumed."""
    model: str = Content(DEFAULT_MODEL, within="preset")
    """A preset (docs/models.md), a diffusers folder, a .safetensors file or a Hub id."""
    adapter: str | None = Content(None, within="preset")
    """An IP-Adapter folder or Hub id in place of the preset's; `:file` chooses one file of it."""
    method: str = Content("dalda")
    """The augmentation method, such as dalda, real-guidance or dipsy (docs/methods.md)."""
    method_option: dict[str, Any] = Content(default_factory=dict)
    """An option of the method, such as strength=0.3 of real-guidance; repeat it for more."""
    shots: Shots = Content(None, extent=True)
    """Real images per class; all (None in Python) is no limit."""
    seed: int = Content(0, ge=0, extent=True)
    """The seed of all randomness."""
    captions: Path | None = Content(None, within="captions")
    """A caption file; without one, captions come from templates."""
    ip_adapter_scale: str = Content("adaptive")
    """How strongly an image follows its source (lambda in the paper): adaptive, uniform, shuffled (the
    scales of adaptive, dealt to other images) or a number from 0 to 1."""
    scale_sampling: Literal["truncated", "clipped"] = Content("truncated")
    """How adaptive draws scales: from a truncated normal (the paper), or clipped (its experiments)."""
    only_classes: tuple[str, ...] = Content((), extent=True)
    """A class to generate for, by its label; repeat it for more. The others still count for CLIP."""
    hardest: int | None = Content(None, ge=1, extent=True)
    """Generates for so many classes: those that a classifier of the real images alone confuses most."""
    scale_unit: Literal["raw", "similarity"] = Content("raw")
    """What is drawn: the scale itself, or a similarity to the source (after dalda calibrate)."""
    per_image: int = Content(10, ge=1, extent=True)
    """Synthetic images per real image."""
    guidance_scale: float | None = Content(None, ge=0, le=100, within="preset")
    """Classifier-free guidance; 1 turns it off."""
    steps: int | None = Content(None, ge=1, le=999, within="preset")
    """Denoising steps."""
    guidance_interval: tuple[float, float] | None = Content(None, within="preset")
    """The part of the steps with guidance, from 0 (noise) to 1, such as 0.2:0.8."""
    scheduler: (
        Literal["ddim", "dpm-solver++", "unipc", "lcm", "euler", "heun", "euler-ancestral", "flow-euler"]
        | None
    ) = Content(None, within="preset")
    """The sampler of the denoising steps; flow-euler is the one of flow-matching models."""
    lora: str | None = Content(None, within="preset")
    """A LoRA folder or Hub id that is merged into the model; `:file` chooses one file of it."""
    vae: str | None = Content(None, within="preset")
    """An autoencoder in place of the preset's, such as madebyollin/taesd."""
    model_option: dict[str, Any] = Content(default_factory=dict, within="preset")
    """Any other field of the preset, such as size=768; repeat it for more."""
    size: Annotated[int, Field(ge=8, le=4096)] | Literal["model", "source"] = Content("model")
    """The size of images: the source's shape within the model's square, the source's own size (up to
    2048 pixels), or the longer side in pixels."""
    dtype: Literal["auto", "fp32", "fp16", "bf16", "int8"] = Execution("auto")
    """The precision of the model; int8 is bf16 with linear layers in eight bits, for half the memory."""
    channels_last: bool = Execution(False)
    """Uses the channels-last memory layout."""
    compile: bool = Execution(False)
    """Compiles the model's blocks before the first image."""
    offload: Literal["none", "model", "sequential"] = Execution("none")
    """Keeps parts (model), or layers (sequential, very slow), off the GPU until they are needed."""
    batch_size: Annotated[int | None, NoneWord("auto")] = Execution(None, ge=1)
    """Images generated together; auto (None in Python) takes what the memory holds."""
    retry_dropped: bool = Execution(False)
    """Tries images again that were dropped earlier, with more seeds."""
    workers: int = Execution(1, ge=1)
    """Processes that generate at the same time, a GPU each; with ray, its actors."""
    shard: str | None = Location(None)
    """I/N generates the I-th of N shards (1/4 to 4/4), in this folder or one of its own; slurm takes both
    from the array job (docs/scale.md)."""
    format: Literal["png", "webp", "jpeg"] = Content("png")
    """The image format: png is lossless, the others are smaller."""
    preview_every: int = Execution(100, ge=0)
    """Images after which OUT/preview.jpg, a contact sheet, is redrawn; 0 draws none."""
    on_bad_image: Literal["skip", "stop"] = Content("stop", within="split")
    """What happens at a real image that cannot be used."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in method_names():
            near = did_you_mean(value, METHODS) or f"; choose one of {', '.join(METHODS)}"
            raise ValueError(f"there is no method '{value}'{near}")
        return value

    @field_validator("shard")
    @classmethod
    def _numbered(cls, value: str | None) -> str | None:
        if value == "slurm":
            number, count, first, step = (
                os.environ.get(f"SLURM_ARRAY_TASK_{x}", "") for x in SLURM_NUMBERS
            )
            if not (number.isdigit() and count.isdigit()):
                raise ValueError("this is no array job of SLURM; write I/N, such as 1/4")
            value = f"{(int(number) - int(first or 1)) // int(step or 1) + 1}/{count}"
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", "1/1" if value is None else value)
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError("write I/N with I from 1 to N, such as 1/4, or slurm")
        return value

    @field_validator("guidance_interval", mode="before")
    @classmethod
    def _in_two(cls, value: object) -> object:
        return tuple(value.split(":")) if isinstance(value, str) else value
