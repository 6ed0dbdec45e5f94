"""Stable Diffusion 1.x and XL from one safetensors file, in which tensors have their original names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, DDIMScheduler, SchedulerMixin, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from dalda.errors import UserError
from dalda.models.hub import loaded
from dalda.models.presets import ROWS_OF_FILES, SHIPPED, Preset
from dalda.models.single_file import TEXT_ENCODERS, class_of_file, predicts_noise
from dalda.models.weights import WeightsError, fill, load_settings, read_tensors

XL = "StableDiffusionXLPipeline"
OPTION = "--model-option config="
Tensors = Mapping[str, Any]


def parts_of_file(preset: Preset, dtype: torch.dtype) -> dict[str, Any]:
    """The parts of a pipeline by name, on the CPU; no autoencoder where the preset names another one.

    The autoencoder is in single precision. Settings are those of `preset.config`, or of Stable Diffusion
    1.5 or XL with CLIP's tokenizer. Raises UserError for what cannot be read, and for any tensor that is
    missing or misshapen.
    """
    path = Path(preset.model)
    kind = class_of_file(path)
    if preset.config is None and not predicts_noise(path):
        raise UserError(
            f"the model in '{path}' was not trained to predict noise; name a diffusers folder or Hub id "
            f"with its settings with {OPTION}"
        )
    place = preset.config or f"{SHIPPED}models/configurations/{ROWS_OF_FILES[kind]}"

    def load(name: str, **options: Any) -> dict[str, Any]:
        parts = empty_models(name, kind, **options)
        tokenizers = _tokenizers(name if preset.config else None, preset, parts, options)
        return {**parts, **tokenizers, "scheduler": _scheduler(name, **options)}

    parts = loaded(place, OPTION, load)
    if preset.vae is not None:
        del parts["vae"]
    tensors = read_tensors(path, "the checkpoint")
    for part, convert in _CONVERTERS.items():
        if part in parts:
            where = f"the {part} in '{path}'"
            fill(parts[part], _converted(convert, parts[part], tensors, where), where)
            parts[part].to(dtype if part != "vae" else torch.float32).eval()
    return parts


def empty_models(name: str, kind: str, **options: Any) -> dict[str, Any]:
    """The models of a pipeline class with the settings of a folder or Hub id, and no weights."""

    def text(model: Any, folder: str) -> Any:
        return model(load_settings(CLIPTextConfig, name, subfolder=folder, **options))

    with init_empty_weights():
        models: dict[str, Any] = {
            part: model.from_config(model.load_config(name, subfolder=part, **options))
            for part, model in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL))
        }
        models["text_encoder"] = text(CLIPTextModel, "text_encoder")
        if kind == XL:
            models["text_encoder_2"] = text(CLIPTextModelWithProjection, "text_encoder_2")
    return models


def _scheduler(name: str, **options: Any) -> Any:
    """The folder's own, whose settings mean what its class says."""
    named = DDIMScheduler.load_config(name, subfolder="scheduler", **options).get("_class_name")
    kind = getattr(diffusers, str(named), None)
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise UserError(f"'{name}' has no scheduler of diffusers; name another folder with {OPTION}")
    return load_settings(kind, name, subfolder="scheduler", **options)


def _tokenizers(
    folder: str | None, preset: Preset, parts: Mapping[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """A tokenizer for each text encoder: that of the folder, or of CLIP with XL's second padding."""
    tokenizers = {}
    for encoder in [part for part in parts if part.startswith("text_encoder")]:
        tokenizer = encoder.replace("text_encoder", "tokenizer")
        config = parts[encoder].config
        if folder is not None:
            tokenizers[tokenizer] = load_settings(CLIPTokenizer, folder, subfolder=tokenizer, **options)
            continue
        padding = {"pad_token": "!"} if encoder == "text_encoder_2" else {}
        tokenizers[tokenizer] = loaded(
            preset.clip,
            "--model-option clip=",
            lambda name, **more: load_settings(
                CLIPTokenizer,
                name,
                model_max_length=config.max_position_embeddings,  # noqa: B023
                **padding,  # noqa: B023
                **more,
            ),
        )
        if len(tokenizers[tokenizer]) != config.vocab_size:
            raise UserError(
                f"the tokenizer of '{preset.clip}' has {len(tokenizers[tokenizer])} tokens, not the "
                f"{config.vocab_size} of the checkpoint; name a folder that has its own with {OPTION}"
            )
    return tokenizers


def _converted(convert: Callable[..., Tensors], model: Any, tensors: Tensors, where: str) -> Tensors:
    """The tensors under the names of diffusers and transformers."""
    try:
        return convert(tensors, model)
    except Exception as error:  # the converters stumble over whatever tensors are not as they expect
        raise WeightsError(f"{where} lacks tensors, or has others; take a complete checkpoint") from error


def _named_for(model: Any, tensors: Tensors) -> Tensors:
    """Transformers 5 has the layers of a text model without projection at its top."""
    if hasattr(model, "text_model"):
        return tensors
    return {name.removeprefix("text_model."): value for name, value in tensors.items()}


_CONVERTERS: dict[str, Callable[..., Tensors]] = {
    "unet": lambda tensors, model: convert_ldm_unet_checkpoint(tensors, model.config),
    "vae": lambda tensors, model: convert_ldm_vae_checkpoint(tensors, model.config),
    "text_encoder": lambda tensors, model: _named_for(model, convert_ldm_clip_checkpoint(tensors)),
    "text_encoder_2": lambda tensors, model: _named_for(
        model, convert_open_clip_checkpoint(model, tensors, prefix=TEXT_ENCODERS[XL])
    ),
}
