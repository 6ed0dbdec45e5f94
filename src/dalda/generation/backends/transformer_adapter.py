"""IP-Adapters of transformers: Stable Diffusion 3.5's (InstantX) and FLUX.1's (XLabs)."""

import re
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionModelWithProjection,
    SiglipImageProcessorPil,
    SiglipVisionModel,
)

from dalda.models.hub import file_of, loaded
from dalda.models.presets import Preset, encoder_place
from dalda.models.weights import WeightsError, load_module, read_tensors, refuse_difference

Tensors = dict[str, dict[str, Any]]
PARTS = {"ip_adapter_proj_model": "image_proj", "double_blocks": "ip_adapter"}
"""XLabs' names of an adapter's parts."""
NAMES = {
    "processor.": "",
    "ip_adapter_double_stream_k_proj": "to_k_ip",
    "ip_adapter_double_stream_v_proj": "to_v_ip",
}
WHOLE_CLIP = re.compile(r"^(text_model|text_projection|logit_scale|visual_projection)")
"""What an image encoder that lies in a whole CLIP does not use."""


def add_sd3_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads a Stable Diffusion 3 adapter and its SigLIP encoder. Raises UserError where they do not fit."""
    blocks = len(pipeline.transformer.attn_processors)
    norms = ("norm_ip.linear.weight", "norm_ip.linear.bias", "norm_q.weight", "norm_k.weight")
    parts = (*norms, "norm_ip_k.weight", "to_k_ip.weight", "to_v_ip.weight")
    wanted = {f"{number}.{part}" for number in range(blocks) for part in parts}

    def processor(encoder: Any) -> Any:
        side = encoder.config.image_size
        return SiglipImageProcessorPil(size={"height": side, "width": side})

    def add(tensors: Tensors) -> None:
        pipeline.transformer._load_ip_adapter_weights(tensors, low_cpu_mem_usage=False)

    _add(pipeline, preset, dtype, wanted, SiglipVisionModel, processor, add)


def add_flux_adapter(pipeline: Any, preset: Preset, dtype: torch.dtype) -> None:
    """Loads a FLUX.1 adapter and its CLIP image encoder. Raises UserError where they do not fit."""
    blocks = len(pipeline.transformer.transformer_blocks)
    kinds = ("to_k_ip.weight", "to_k_ip.bias", "to_v_ip.weight", "to_v_ip.bias")
    wanted = {f"{number}.{kind}" for number in range(blocks) for kind in kinds}

    def processor(encoder: Any) -> Any:
        side = encoder.config.image_size
        return CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )

    def add(tensors: Tensors) -> None:
        pipeline.transformer._load_ip_adapter_weights([tensors], low_cpu_mem_usage=False)

    _add(pipeline, preset, dtype, wanted, CLIPVisionModelWithProjection, processor, add)


def _add(
    pipeline: Any,
    preset: Preset,
    dtype: torch.dtype,
    wanted: set[str],
    encoder_kind: Any,
    processor: Callable[[Any], Any],
    add: Callable[[Tensors], None],
) -> None:
    def load(name: str, **options: Any) -> None:
        folder = "" if preset.adapter_folder in (".", "") else f"{preset.adapter_folder}/"
        path = file_of(name, folder + preset.adapter_file, **options)
        where = f"the adapter in '{path}'"
        tensors: Tensors = {"image_proj": {}, "ip_adapter": {}}
        for key, value in read_tensors(path, "the adapter").items():
            part, _, rest = key.partition(".")
            for theirs, ours in NAMES.items():
                rest = rest.replace(theirs, ours)
            tensors.setdefault(PARTS.get(part, part), {})[rest] = value.to(dtype)
        refuse_difference(tensors["ip_adapter"], wanted, where)
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
