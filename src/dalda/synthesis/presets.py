"""Which models there are: one row each."""

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from dalda.errors import UserError

SHIPPED = "shipped:"
"""Marks a folder inside this package."""


@dataclass(frozen=True)
class Preset:
    """A base model, its image prompt adapter, and the settings that belong to them."""

    model: str
    """A diffusers folder or Hub id."""
    adapter: str
    """A folder or Hub id in the layout of h94/IP-Adapter."""
    adapter_folder: str
    adapter_file: str
    image_encoder: str
    """The adapter's image encoder, as a folder inside the adapter's."""
    clip: str
    """The CLIP model that scores the source images."""
    vae: str | None = None
    """An autoencoder in place of the model's own."""
    size: int | None = None
    """Width and height in pixels; None is the model's own."""
    prompt_prefix: str = "best quality, high quality, "
    negative_prompt: str = "monochrome, lowres, bad anatomy, worst quality, low quality"
    guidance_scale: float = 7.5
    steps: int = 30
    scheduler: dict[str, Any] | None = None
    """DDIM's settings in place of the model's own scheduler."""
    words: str = "photos"
    """The grammar's word list that the text encoder knows."""


# Appendix of arXiv 2409.16949 and the authors' code: the DDIM scheduler of IP-Adapter's examples.
_PAPER_DDIM = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
_SD = Preset(
    model="CompVis/stable-diffusion-v1-4",
    vae="stabilityai/sd-vae-ft-mse",
    adapter="h94/IP-Adapter",
    adapter_folder="models",
    adapter_file="ip-adapter_sd15.bin",
    image_encoder="models/image_encoder",
    clip="openai/clip-vit-base-patch16",
    size=512,
    scheduler=_PAPER_DDIM,
)
PRESETS = {
    "doodle": Preset(
        model=SHIPPED + "doodles/weights/model",
        adapter=SHIPPED + "doodles/weights/ip_adapter",
        adapter_folder="models",
        adapter_file="ip-adapter_doodle.safetensors",
        image_encoder="models/image_encoder",
        clip=SHIPPED + "doodles/weights/clip",
        prompt_prefix="",
        negative_prompt="",
        guidance_scale=3.0,
        steps=12,
        words="doodles",
    ),
    "sd14": _SD,
    "sd15": replace(_SD, model="stable-diffusion-v1-5/stable-diffusion-v1-5"),
}


def preset_named(model: str) -> Preset:
    """The row of that name, or a Stable Diffusion 1.x folder or Hub id with SD 1.5's adapter.

    Raises UserError when it is neither a preset nor looks like a model.
    """
    if model in PRESETS:
        return PRESETS[model]
    if Path(model).is_dir() or model.count("/") == 1:
        return replace(_SD, model=model, vae=None, size=None, scheduler=None)
    raise UserError(
        f"there is no model '{model}'; name a preset ({', '.join(PRESETS)}), a diffusers folder or a Hub id"
    )


def located(folder_or_id: str) -> str:
    """A model's place: shipped folders become paths, all else stays as it is."""
    if folder_or_id.startswith(SHIPPED):
        return str(files("dalda").joinpath(folder_or_id.removeprefix(SHIPPED)))
    return folder_or_id
