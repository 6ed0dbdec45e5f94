"""Which models there are: one row each."""

import json
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from dalda.errors import UserError
from dalda.models.single_file import SINGLE_FILES, class_of_file
from dalda.registry import Registry
from dalda.storage import read_text
from dalda.terminal import did_you_mean

SHIPPED = "shipped:"
"""Marks a folder inside this package."""
Sampler = Literal["ddim", "dpm-solver++", "unipc", "lcm", "euler", "heun", "euler-ancestral", "flow-euler"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)


_NO_PIXELS = {"decides_pixels": False}
"""Of fields that decide requests or nothing, and so are not in a generator's fingerprint."""


@dataclass(frozen=True)
class Preset:
    """A base model, its image prompt adapter, and the settings that belong to them.

    Models are folders or Hub ids, these with @REVISION where a certain one is wanted.
    """

    model: str
    """A diffusers folder or Hub id of one of the model families (docs/generators.md)."""
    adapter: str | None
    """A folder or Hub id in the layout of h94/IP-Adapter; None generates without image prompts."""
    adapter_folder: str
    """Where in it the file is; `.` is the top."""
    adapter_file: str
    image_encoder: str
    """The adapter's image encoder, as a folder inside the adapter's, or as FOLDER_OR_ID:FOLDER."""
    clip: str = field(metadata=_NO_PIXELS)
    """The CLIP model that scores the source images."""
    second_adapter: str | None = None
    """FOLDER_OR_ID:FILE of another adapter for the same images, which reads the same image encoder."""
    second_adapter_scale: float = 1.0
    """What multiplies each image's IP-Adapter scale in the second adapter."""
    vae: str | None = None
    """An autoencoder in place of the model's own."""
    config: str | None = None
    """Of a model in one file: the diffusers folder or Hub id with its settings and tokenizer; None is
    those of Stable Diffusion 1.5 or XL."""
    variant: str | None = None
    """Which of the model's weight files, such as fp16; None is the plain ones."""
    size: int | None = None
    """Width and height in pixels; None is the model's own."""
    prompt_prefix: str = field(default="best quality, high quality, ", metadata=_NO_PIXELS)
    negative_prompt: str = field(
        default="monochrome, lowres, bad anatomy, worst quality, low quality", metadata=_NO_PIXELS
    )
    guidance_scale: float = 7.5
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """The part of the steps that is guided; the others follow the prompts alone, in half the time."""
    steps: int = 30
    scheduler: Sampler = "ddim"
    noise_schedule: dict[str, Any] | None = None
    """The training's noise schedule, in the words of diffusers' DDIM, in place of the model's own."""
    lora: str | None = None
    """A LoRA folder or Hub id, with :file, that is merged into the model."""
    lora_scale: float = 1.0
    adapter_blocks: dict[str, Any] | None = None
    """By how much each of a UNet's blocks follows the image prompt, in diffusers' words for
    `set_ip_adapter_scale` (InstantStyle); None is 1 for all of them."""
    shift: float | None = None
    """Of the timesteps of a flow-matching model; None is the model's own, which may follow the size."""
    words: str = field(default="photos", metadata=_NO_PIXELS)
    """The vocabulary of caption templates that the text encoder knows."""

    def __post_init__(self) -> None:
        low, high = self.guidance_interval
        if not 0 <= low < high <= 1:
            raise UserError(
                f"guidance cannot be on from {low} to {high} of the steps; write two numbers from 0 to 1, "
                "the smaller one first, such as --guidance-interval 0.2:0.8"
            )
        if self.steps < 1:
            raise UserError(
                f"an image cannot be generated in {self.steps} steps; choose others with --steps"
            )
        if self.scheduler not in SAMPLERS:
            known = ", ".join(SAMPLERS)
            raise UserError(f"there is no scheduler '{self.scheduler}'; choose one of {known}")

    @property
    def adapter_path(self) -> str:
        """The adapter's file inside its folder or repository."""
        at_top = self.adapter_folder in (".", "")
        return self.adapter_file if at_top else f"{self.adapter_folder}/{self.adapter_file}"

    @property
    def encoder_folders(self) -> tuple[str, ...]:
        """Where the image encoder may be inside the adapter's folder or repository."""
        folders = (self.image_encoder, f"{self.adapter_folder or '.'}/image_encoder", "image_encoder")
        return tuple(dict.fromkeys(folders))


# Appendix of arXiv 2409.16949: the DDIM scheduler of IP-Adapter's examples.
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
    noise_schedule=_PAPER_DDIM,
)
_ROWS = {
    "sd14": _SD,
    "sd15": replace(_SD, model="stable-diffusion-v1-5/stable-diffusion-v1-5"),
    "sdxl": replace(
        _SD,
        model="stabilityai/stable-diffusion-xl-base-1.0",
        variant="fp16",
        vae=None,
        adapter_folder="sdxl_models",
        adapter_file="ip-adapter_sdxl_vit-h.safetensors",
        size=1024,
        guidance_scale=5.0,
        noise_schedule=None,
    ),
}
_ROWS["kolors"] = replace(
    _ROWS["sdxl"],
    model="Kwai-Kolors/Kolors-diffusers",
    # On its main branch are pickled files alone.
    adapter="Kwai-Kolors/Kolors-IP-Adapter-Plus@refs/pr/4",
    adapter_folder=".",
    adapter_file="ip_adapter_plus_general.safetensors",
    image_encoder="image_encoder",
    steps=50,
    scheduler="euler",
)
_FLOW = replace(
    _SD,
    vae=None,
    size=1024,
    prompt_prefix="",
    negative_prompt="",
    scheduler="flow-euler",
    noise_schedule=None,
    adapter=None,
    adapter_folder=".",
    adapter_file="",
    image_encoder="",
)
_FLUX = replace(
    _FLOW,
    model="black-forest-labs/FLUX.1-dev",
    adapter="XLabs-AI/flux-ip-adapter",
    adapter_file="ip_adapter.safetensors",
    image_encoder="openai/clip-vit-large-patch14:",
    guidance_scale=3.5,
    steps=28,
)
_ROWS |= {
    "sdxl-turbo": replace(
        _ROWS["sdxl"],
        model="stabilityai/sdxl-turbo",
        size=512,
        guidance_scale=0.0,
        steps=4,
        scheduler="euler-ancestral",
    ),
    "sd15-hyper": replace(
        _ROWS["sd15"],
        lora="ByteDance/Hyper-SD:Hyper-SD15-4steps-lora.safetensors",
        guidance_scale=0.0,
        steps=4,
        noise_schedule={**_PAPER_DDIM, "timestep_spacing": "trailing"},
    ),
    "lcm": replace(
        _ROWS["sd15"],
        lora="latent-consistency/lcm-lora-sdv1-5",
        guidance_scale=1.0,
        steps=4,
        scheduler="lcm",
    ),
    "sd35": replace(
        _FLOW,
        model="stabilityai/stable-diffusion-3.5-large",
        adapter="guiyrt/InstantX-SD3.5-Large-IP-Adapter-diffusers",
        adapter_file="ip-adapter.safetensors",
        image_encoder="google/siglip-so400m-patch14-384:",
        guidance_scale=4.5,
        steps=28,
    ),
    "flux-dev": _FLUX,
    "flux-schnell": replace(_FLUX, model="black-forest-labs/FLUX.1-schnell", guidance_scale=1.0, steps=4),
    "chroma": replace(_FLUX, model="lodestones/Chroma1-HD", guidance_scale=3.0, steps=35),
    "klein": replace(_FLOW, model="black-forest-labs/FLUX.2-klein-4B", guidance_scale=1.0, steps=4),
    "z-image": replace(_FLOW, model="Tongyi-MAI/Z-Image-Turbo", guidance_scale=0.0, steps=8),
    "qwen-image": replace(
        _FLOW, model="Qwen/Qwen-Image", negative_prompt=" ", guidance_scale=4.0, steps=50
    ),
    "sana-sprint": replace(
        _FLOW,
        model="Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers",
        guidance_scale=4.5,
        steps=2,
    ),
}
PRESETS: Registry[Preset] = Registry(_ROWS)
ROWS_OF_CLASSES = {
    "KolorsPipeline": "kolors",
    "StableDiffusion3Pipeline": "sd35",
    "FluxPipeline": "flux-dev",
    "ChromaPipeline": "chroma",
    "Flux2KleinPipeline": "klein",
    "ZImagePipeline": "z-image",
    "QwenImagePipeline": "qwen-image",
    "SanaSprintPipeline": "sana-sprint",
}
"""Pipeline class of a local folder -> the row whose settings it starts from."""
ROWS_OF_FILES = {"StableDiffusionPipeline": "sd15", "StableDiffusionXLPipeline": "sdxl"}
"""The same for a model in one file."""
CLASSES_OF_ROWS = {row: kind for kind, row in (ROWS_OF_CLASSES | ROWS_OF_FILES).items()}
CLASSES_OF_ROWS |= dict.fromkeys(("sd14", "sd15-hyper", "lcm"), "StableDiffusionPipeline")
CLASSES_OF_ROWS |= {"sdxl-turbo": "StableDiffusionXLPipeline", "flux-schnell": "FluxPipeline"}
"""Row -> the pipeline class of its published model."""


def preset_named(model: str) -> Preset:
    """The row of that name, or a folder, file or Hub id with the adapter of Stable Diffusion 1.5.

    A folder or file of another model family starts from that family's row.
    Raises UserError when it is neither a preset nor looks like a model.
    """
    if model in PRESETS:
        return PRESETS[model]
    single_file = Path(model).is_file() or Path(model).suffix in SINGLE_FILES
    row = ROWS_OF_CLASSES.get(pipeline_class_in(Path(model)))
    if row is not None:
        return replace(PRESETS[row], model=model, variant=None, size=None)
    if Path(model).is_dir() or (model.count("/") == 1 and not single_file):
        return replace(_SD, model=model, vae=None, size=None, noise_schedule=None)
    if single_file:
        kind = PRESETS[ROWS_OF_FILES[class_of_file(Path(model))]]
        return replace(kind, model=model, variant=None, vae=None, size=None, noise_schedule=None)
    near = did_you_mean(model, PRESETS)
    choices = f"; name a preset ({', '.join(PRESETS)}), a diffusers folder or a Hub id"
    raise UserError(f"there is no model '{model}'{near or choices}")


def pipeline_class_in(folder: Path) -> str:
    """The pipeline class that a local folder names; empty where there is none."""
    try:
        named = json.loads(read_text(folder / "model_index.json")).get("_class_name")
    except (UserError, ValueError, AttributeError):
        return ""
    return str(named or "")


def encoder_place(preset: Preset) -> tuple[str, str]:
    """The folder or Hub id of the adapter's image encoder, and the folder in it."""
    if ":" in preset.image_encoder:
        place, _, folder = preset.image_encoder.rpartition(":")
        return place, folder
    return str(preset.adapter), preset.image_encoder


def located(folder_or_id: str) -> str:
    """A model's place: shipped folders become paths, all else stays as it is."""
    if folder_or_id.startswith(SHIPPED):
        return str(files("dalda").joinpath(folder_or_id.removeprefix(SHIPPED)))
    return folder_or_id
