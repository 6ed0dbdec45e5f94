"""Loading a preset's parts: the pipeline, its autoencoder and a LoRA."""

from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    KolorsPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from dalda.errors import UserError
from dalda.generation.backends.autoencoders import AUTOENCODERS
from dalda.generation.backends.lora import merge_lora
from dalda.generation.backends.pipeline_parts import variant_in
from dalda.generation.backends.single_file import parts_of_file
from dalda.generation.backends.unet_adapter import add_adapters
from dalda.models.clip import SPECIAL_TOKENS
from dalda.models.hub import loaded
from dalda.models.presets import Preset
from dalda.models.single_file import class_of_file
from dalda.models.weights import load_module, load_settings

PIPELINES: dict[str, tuple[Any, dict[str, Any]]] = {
    "StableDiffusionPipeline": (
        StableDiffusionPipeline,
        {"safety_checker": None, "requires_safety_checker": False},
    ),
    "StableDiffusionXLPipeline": (StableDiffusionXLPipeline, {"add_watermarker": False}),
    "KolorsPipeline": (KolorsPipeline, {}),
}
"""The kinds of model, and what each of them is loaded without."""


def load_pipeline(preset: Preset, dtype: torch.dtype) -> Any:
    """The preset's model with all its parts, on the CPU. Raises UserError for what cannot be loaded."""
    half = dtype == torch.float16
    own = (
        None
        if preset.vae is None
        else loaded(preset.vae, "--vae", partial(_vae, dtype=torch.float32 if half else dtype))
    )

    def load(name: str, **options: Any) -> Any:
        kind, without = PIPELINES[DiffusionPipeline.load_config(name, **options)["_class_name"]]
        exact = _decoding(kind, dtype)
        if own is None:
            variant = preset.variant or variant_in(name, "vae")
            vae = _vae(name, dtype=exact, subfolder="vae", variant=variant, **options)
        else:
            vae = own.to(exact if own.config.get("force_upcast") else dtype)
        parts = {
            part: load_module(
                part_kind,
                name,
                f"the {part}",
                subfolder=part,
                dtype=dtype,
                variant=preset.variant or variant_in(name, part),
                **options,
            )
            for part, part_kind in _modules_of(kind).items()
        }
        return load_settings(
            kind,
            name,
            vae=vae,
            dtype=dtype,
            variant=preset.variant,
            **parts,
            feature_extractor=None,
            image_encoder=None,
            **without,
            **options,
        )

    if Path(preset.model).is_file():
        pipeline = _of_file(preset, dtype, own)
    else:
        pipeline = loaded(preset.model, "--model", load)
    _check(pipeline, preset)
    if preset.lora is not None:
        merge_lora(pipeline, preset.lora, preset.lora_scale)
    add_adapters(pipeline, preset, dtype)
    return pipeline


def _of_file(preset: Preset, dtype: torch.dtype, own: Any) -> Any:
    """The pipeline of a checkpoint in one file, with another autoencoder where there is one."""
    kind, without = PIPELINES[class_of_file(Path(preset.model))]
    parts = {"vae": own, **parts_of_file(preset, dtype)}
    exact = own is None or own.config.get("force_upcast")
    parts["vae"].to(_decoding(kind, dtype) if exact else dtype)
    return kind(**parts, feature_extractor=None, image_encoder=None, **without)


def _decoding(kind: Any, dtype: torch.dtype) -> torch.dtype:
    """As stock diffusers decodes: the own autoencoder of XL and Kolors overflows in half precision."""
    return torch.float32 if dtype == torch.float16 and kind is not StableDiffusionPipeline else dtype


def _modules_of(kind: Any) -> dict[str, Any]:
    """The classes of a pipeline's parts with weights, but for its autoencoder."""
    parts: dict[str, Any] = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    if kind is KolorsPipeline:
        from diffusers.pipelines.kolors import ChatGLMModel

        parts["text_encoder"] = ChatGLMModel
    elif kind is StableDiffusionXLPipeline:
        parts["text_encoder_2"] = CLIPTextModelWithProjection
    return parts


def _vae(name: str, *, dtype: torch.dtype, **options: Any) -> Any:
    """An autoencoder of whichever kind its settings name."""
    settings = {key: value for key, value in options.items() if key != "variant"}
    named = AutoencoderKL.load_config(name, **settings).get("_class_name")
    if named not in AUTOENCODERS:
        raise UserError(
            f"the autoencoder of '{name}' is a {named}; one of {', '.join(AUTOENCODERS)} is needed, "
            "name one with --vae"
        )
    return load_module(resolve_name(AUTOENCODERS[named]), name, "the autoencoder", dtype=dtype, **options)


def _check(pipeline: Any, preset: Preset) -> None:
    """Raises UserError for parts that do not go together."""
    wanted, had = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
    if wanted != had:
        raise UserError(
            f"the autoencoder '{preset.vae or preset.model}' has {had} channels, the model "
            f"'{preset.model}' works on {wanted}; name another with --vae"
        )
    if preset.size is not None and (preset.size < 1 or preset.size % pipeline.vae_scale_factor):
        raise UserError(
            f"the model '{preset.model}' cannot make images of {preset.size} pixels; "
            f"choose a multiple of {pipeline.vae_scale_factor} with --model-option size=..."
        )
    if preset.size is None and not isinstance(pipeline.unet.config.sample_size, int):
        raise UserError(
            f"the model '{preset.model}' does not say how large its images are; "
            "name their side in pixels with --model-option size=512"
        )
    tokenizers = [getattr(pipeline, part, None) for part in ("tokenizer", "tokenizer_2")]
    if any(tokenizer is not None and len(tokenizer) <= SPECIAL_TOKENS for tokenizer in tokenizers):
        raise UserError(f"the model '{preset.model}' has no tokenizer; name a complete one with --model")
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise UserError(
            f"the model '{preset.model}' has its guidance built in, which leaves none to choose; "
            "take the plain model and a LoRA of the same kind with --lora and --scheduler lcm"
        )
