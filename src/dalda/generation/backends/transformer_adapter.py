"""IP-Adapters of transformers: Stable Diffusion 3.5's (InstantX) and FLUX.1's (XLabs, InstantX)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPVisionModelWithProjection, SiglipImageProcessorPil, SiglipVisionModel

from dalda.errors import UserError
from dalda.generation.backends.adapter_files import (
    WHOLE_CLIP,
    by_part,
    is_instantx,
    refuse_unfit,
    refusing_unfit,
)
from dalda.generation.backends.flux_instantx import add_instantx
from dalda.models.clip import clip_processor
from dalda.models.hub import file_of, loaded
from dalda.models.presets import Preset, encoder_place
from dalda.models.weights import load_module, read_tensors

Tensors = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class EncoderKind:
    """A kind of image encoder, as an adapter reads it."""

    name: str
    model: Any
    processor: Callable[[int], Any]
    """Makes the image processor for a side in pixels."""
    width: str
    """Which of the encoder's settings is the number of its features."""


CLIP = EncoderKind(
    "CLIP",
    CLIPVisionModelWithProjection,
    clip_processor,
    "projection_dim",
)
SIGLIP = EncoderKind(
    "SigLIP",
    SiglipVisionModel,
    lambda side: SiglipImageProcessorPil(size={"height": side, "width": side}),
    "hidden_size",
)


def add_sd3_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads a Stable Diffusion 3 adapter and its SigLIP encoder. Raises UserError where they do not fit."""

    def add(tensors: Tensors, where: str) -> tuple[EncoderKind, str]:
        pipeline.transformer._load_ip_adapter_weights(tensors, low_cpu_mem_usage=False)
        return SIGLIP, "proj_in.weight"

    _add(pipeline, preset, dtype, add)


def add_flux_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads XLabs' or InstantX' FLUX.1 adapter and its encoder. Raises UserError where they do not fit."""

    def add(tensors: Tensors, where: str) -> tuple[EncoderKind, str]:
        if is_instantx(tensors["ip_adapter"]):
            add_instantx(pipeline.transformer, tensors, where)
            return SIGLIP, "proj.0.weight"
        pipeline.transformer._load_ip_adapter_weights([tensors], low_cpu_mem_usage=False)
        return CLIP, "proj.weight"

    _add(pipeline, preset, dtype, add)


def _add(
    pipeline: Any,
    preset: Preset,
    dtype: torch.dtype,
    add: Callable[[Tensors, str], tuple[EncoderKind, str]],
) -> None:
    """`add` returns which encoder an adapter reads, and the tensor that reads its features."""

    def load(name: str, **options: Any) -> tuple[EncoderKind, int]:
        path = file_of(name, preset.adapter_path, **options)
        where = f"the adapter in '{path}'"
        found = {key: value.to(dtype) for key, value in read_tensors(path, "the adapter").items()}
        tensors = by_part(found)
        refuse_unfit(tensors["ip_adapter"], pipeline.transformer, where)
        with refusing_unfit(where):
            kind, first = add(tensors, where)
        pipeline.transformer.to(dtype)
        return kind, tensors["image_proj"][first].shape[-1]

    def load_encoder(name: str, **options: Any) -> None:
        encoder = load_module(
            kind.model,
            name,
            f"the adapter's image encoder ({kind.name})",
            may_have=WHOLE_CLIP,
            subfolder=folder,
            dtype=dtype,
            **options,
        )
        given = getattr(encoder.config, kind.width)
        if given != wanted:
            raise UserError(
                f"the adapter '{adapter}' reads images as {wanted} numbers, and the image encoder in "
                f"'{name}' gives {given}; name another {kind.name} with --model-option image_encoder="
            )
        processor = kind.processor(encoder.config.image_size)
        pipeline.register_modules(image_encoder=encoder, feature_extractor=processor)

    adapter = str(preset.adapter)
    kind, wanted = loaded(adapter, "--adapter", load)
    place, folder = encoder_place(preset)
    loaded(place, "--model-option image_encoder=", load_encoder)
