"""IP-Adapters of transformers: Stable Diffusion 3.5's (InstantX) and FLUX.1's (XLabs)."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionModelWithProjection,
    SiglipImageProcessorPil,
    SiglipVisionModel,
)

from dalda.generation.backends.adapter_files import WHOLE_CLIP, by_part, refuse_unfit
from dalda.models.hub import file_of, loaded
from dalda.models.presets import Preset, encoder_place
from dalda.models.weights import WeightsError, load_module, read_tensors

Tensors = dict[str, dict[str, Any]]


def add_sd3_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads a Stable Diffusion 3 adapter and its SigLIP encoder. Raises UserError where they do not fit."""

    def processor(encoder: Any) -> Any:
        side = encoder.config.image_size
        return SiglipImageProcessorPil(size={"height": side, "width": side})

    def add(tensors: Tensors) -> None:
        pipeline.transformer._load_ip_adapter_weights(tensors, low_cpu_mem_usage=False)

    _add(pipeline, preset, dtype, SiglipVisionModel, processor, add)


def add_flux_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads a FLUX.1 adapter and its CLIP image encoder. Raises UserError where they do not fit."""

    def processor(encoder: Any) -> Any:
        side = encoder.config.image_size
        return CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )

    def add(tensors: Tensors) -> None:
        pipeline.transformer._load_ip_adapter_weights([tensors], low_cpu_mem_usage=False)

    _add(pipeline, preset, dtype, CLIPVisionModelWithProjection, processor, add)


def _add(
    pipeline: Any,
    preset: Preset,
    dtype: torch.dtype,
    encoder_kind: Any,
    processor: Callable[[Any], Any],
    add: Callable[[Tensors], None],
) -> None:
    def load(name: str, **options: Any) -> None:
        folder = "" if preset.adapter_folder in (".", "") else f"{preset.adapter_folder}/"
        path = file_of(name, folder + preset.adapter_file, **options)
        where = f"the adapter in '{path}'"
        found = {name: value.to(dtype) for name, value in read_tensors(path, "the adapter").items()}
        tensors = by_part(found)
        refuse_unfit(tensors["ip_adapter"], pipeline.transformer, where)
        try:
            add(tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{where} lacks tensors, or they do not fit this model ({reason}); take one made for it"
            ) from error
        pipeline.transformer.to(dtype)

    def load_encoder(name: str, **options: Any) -> None:
        encoder = load_module(
            encoder_kind,
            name,
            "the adapter's image encoder",
            may_have=WHOLE_CLIP,
            subfolder=folder,
            dtype=dtype,
            **options,
        )
        pipeline.register_modules(image_encoder=encoder, feature_extractor=processor(encoder))

    adapter = str(preset.adapter)
    loaded(adapter, "--adapter", load)
    place, folder = encoder_place(preset)
    loaded(place, "--model-option image_encoder=", load_encoder)
