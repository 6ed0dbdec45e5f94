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
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.flux_instantx import add_instantx
from dalda.generation.backends.pipeline_parts import DTYPES, load_parts
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


Add = Callable[[Any, Tensors, str], tuple[EncoderKind, str]]
"""Puts an adapter's tensors into a transformer; returns its encoder, and the tensor that reads features."""


def add_to_sd3(transformer: Any, tensors: Tensors, where: str) -> tuple[EncoderKind, str]:
    """InstantX' adapter of Stable Diffusion 3.5."""
    transformer._load_ip_adapter_weights(tensors, low_cpu_mem_usage=False)
    return SIGLIP, "proj_in.weight"


def add_to_flux(transformer: Any, tensors: Tensors, where: str) -> tuple[EncoderKind, str]:
    """XLabs' or InstantX' adapter of FLUX.1."""
    if is_instantx(tensors["ip_adapter"]):
        add_instantx(transformer, tensors, where)
        return SIGLIP, "proj.0.weight"
    transformer._load_ip_adapter_weights([tensors], low_cpu_mem_usage=False)
    return CLIP, "proj.weight"


def load_with_adapter(kind: Any, spec: GeneratorSpec, add: Add) -> Any:
    """A pipeline of class `kind`, with the preset's adapter and its encoder where it names one.

    Raises UserError for what cannot be loaded, and for an adapter or encoder that does not fit.
    """
    pipeline = load_parts(spec, kind, without=("image_encoder", "feature_extractor"))
    if spec.preset.adapter is not None:
        _add(pipeline, spec.preset, spec.preset.adapter, DTYPES[spec.dtype], add)
    return pipeline


def _add(pipeline: Any, preset: Preset, adapter: str, dtype: torch.dtype, add: Add) -> None:
    """Puts an adapter and its image encoder into a pipeline."""

    def load(name: str, **options: Any) -> tuple[EncoderKind, int]:
        path = file_of(name, preset.adapter_path, **options)
        where = f"the adapter in '{path}'"
        found = {key: value.to(dtype) for key, value in read_tensors(path, "the adapter").items()}
        tensors = by_part(found)
        refuse_unfit(tensors["ip_adapter"], pipeline.transformer, where)
        with refusing_unfit(where):
            kind, first = add(pipeline.transformer, tensors, where)
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

    kind, wanted = loaded(adapter, "--adapter", load)
    place, folder = encoder_place(preset)
    loaded(place, "--model-option image_encoder=", load_encoder)
