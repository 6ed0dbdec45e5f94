"""InstantX' adapter in FLUX.1 and Chroma: each image of a mixed batch equals the reference's equations."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ChromaPipeline, DiffusionPipeline
from PIL import Image
from safetensors.torch import save_file
from tests.generation.backends.test_image_prompts import images_of, requests_of
from tests.generation.stock import source_of
from tests.generation.stock_flow import pipeline_of, stock_latents
from tests.generation.tiny_transformers import TOKENS, save_instantx_adapter, save_siglip, tiny_preset
from torch import Tensor
from transformers import SiglipImageProcessorPil, SiglipVisionModel

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.checkpoint import refuse_misfit
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.presets import Preset
from dalda.types import GenerationRequest

BLOCKS = 4
"""Two double, two single: what the last one makes of the text is read by nothing."""
Weights = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Tiny:
    """A tiny model with both layouts of adapters on disk."""

    xlabs: Preset
    preset: Preset
    weights: Weights


@pytest.fixture(scope="module", params=["flux", "chroma"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp(request.param)
    preset = tiny_preset(folder, request.param)
    one_single = DiffusionPipeline.from_pretrained(preset.model).transformer
    transformer = type(one_single).from_config({**one_single.config, "num_single_layers": 2})
    transformer.save_pretrained(f"{preset.model}/transformer")
    weights = save_instantx_adapter(folder / "instantx", BLOCKS)
    ours = replace(preset, adapter=str(folder / "instantx"), adapter_file="ip-adapter.bin")
    return Tiny(preset, ours, weights)


@pytest.fixture(scope="module")
def generator(tiny: Tiny) -> DiffusionGenerator:
    return load(tiny.preset)


def load(preset: Preset) -> DiffusionGenerator:
    loaded = GeneratorSpec(preset).load()
    assert isinstance(loaded, DiffusionGenerator)
    return loaded


@dataclass
class WrittenOut:
    """The attention of the reference, in plain torch, for one image."""

    to_key: Tensor
    to_value: Tensor
    scale: float

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        ip_hidden_states: Any = None,
    ) -> Any:
        def heads(states: Tensor) -> Tensor:
            return states.reshape(1, states.shape[1], attn.heads, -1).transpose(1, 2)

        def whole(states: Tensor) -> Tensor:
            return states.transpose(1, 2).flatten(2)

        query = attn.norm_q(heads(attn.to_q(hidden_states)))
        key = attn.norm_k(heads(attn.to_k(hidden_states)))
        value = heads(attn.to_v(hidden_states))
        image_key = heads(ip_hidden_states @ self.to_key.T)
        image_key = image_key / (image_key.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        weight = (query @ image_key.mT / query.shape[-1] ** 0.5).softmax(-1)
        image = whole(weight @ heads(ip_hidden_states @ self.to_value.T))
        text = encoder_hidden_states
        if text is not None:
            query = torch.cat([attn.norm_added_q(heads(attn.add_q_proj(text))), query], 2)
            key = torch.cat([attn.norm_added_k(heads(attn.add_k_proj(text))), key], 2)
            value = torch.cat([heads(attn.add_v_proj(text)), value], 2)
        query, key = turned(query, *image_rotary_emb), turned(key, *image_rotary_emb)
        states = whole(torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask))
        if text is None:
            return states + self.scale * image
        length = text.shape[1]
        return attn.to_out[0](states[:, length:] + self.scale * image), attn.to_add_out(states[:, :length])


def turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of neighbouring pairs of channels."""
    real, imaginary = states[..., ::2], states[..., 1::2]
    return states * cos + torch.stack([-imaginary, real], -1).flatten(-2) * sin


class Tokens(torch.nn.Module):
    """The reference's projection; of several images all tokens, or their mean."""

    num_ip_adapters = 1

    def __init__(self, weights: dict[str, Tensor], merging: str) -> None:
        super().__init__()
        self.weights, self.merging = weights, merging

    def forward(self, embeds: list[Tensor]) -> Tensor:
        given, (features,) = self.weights, embeds
        wide = features[0] @ given["proj.0.weight"].T + given["proj.0.bias"]
        tokens = torch.nn.functional.gelu(wide) @ given["proj.2.weight"].T + given["proj.2.bias"]
        tokens = tokens.reshape(len(tokens), TOKENS, -1)
        centred = tokens - tokens.mean(-1, keepdim=True)
        tokens = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        tokens = tokens * given["norm.weight"] + given["norm.bias"]
        return tokens.mean(0)[None] if self.merging == "mean" else tokens.reshape(1, -1, tokens.shape[-1])


def reference(tiny: Tiny, request: GenerationRequest, images: list[Image.Image]) -> Tensor:
    """One image of the stock pipeline with the attention above."""
    pipeline = DiffusionPipeline.from_pretrained(tiny.preset.model)
    transformer = pipeline.transformer
    transformer.encoder_hid_proj = Tokens(tiny.weights["image_proj"], request.image_prompt_merging)
    attention = tiny.weights["ip_adapter"]
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    for number, block in enumerate(blocks):
        key, value = (attention[f"{number}.to_{one}_ip.weight"] for one in "kv")
        block.attn.set_processor(WrittenOut(key, value, request.ip_adapter_scale))
    encoder = SiglipVisionModel.from_pretrained(f"{tiny.preset.adapter}/image_encoder")
    processor = SiglipImageProcessorPil(size={"height": 16, "width": 16})
    none = [Image.new("RGB", (16, 16))] * len(images)
    with torch.no_grad():
        embeds, negative = (
            encoder(**processor(one, return_tensors="pt")).pooler_output[None] for one in (images, none)
        )
    more: dict[str, Any] = {
        "ip_adapter_image_embeds": [embeds],
        "negative_ip_adapter_image_embeds": [negative],
    }
    if isinstance(pipeline, ChromaPipeline):
        more["negative_prompt"] = request.negative_prompt
    return stock_latents(pipeline, request, None, **more)


@pytest.mark.parametrize("merging", ["one", "tokens", "mean"])
def test_a_mixed_batch_equals_each_image_made_alone(
    tiny: Tiny, generator: DiffusionGenerator, merging: str
) -> None:
    requests = requests_of("mean" if merging == "mean" else "tokens")
    if merging == "one":
        requests = [replace(one, more_sources=(), more_source_sha256s=()) for one in requests]
    sources = [images_of(number)[: len(one.source_files)] for number, one in enumerate(requests)]
    with torch.no_grad():
        ours = generator.denoise(
            requests, [first for first, *_ in sources], more_images=[rest for _, *rest in sources]
        )
    made = [reference(tiny, *item) for item in zip(requests, sources, strict=True)]
    assert (ours - torch.cat(made)).abs().max() < 1e-4
    weaker = reference(tiny, replace(requests[2], ip_adapter_scale=0.35), sources[2])
    assert (ours[2] - weaker).abs().max() > 1e-2


def one_prompt(scale: float) -> GenerationRequest:
    return replace(
        requests_of("tokens")[0], more_sources=(), more_source_sha256s=(), ip_adapter_scale=scale
    )


def latents_of_one(generator: DiffusionGenerator, scale: float) -> Tensor:
    with torch.no_grad():
        return generator.denoise([one_prompt(scale)], [source_of(0)])


def test_scale_zero_is_a_model_without_an_adapter(tiny: Tiny, generator: DiffusionGenerator) -> None:
    without = latents_of_one(load(replace(tiny.preset, adapter=None)), 0.0)
    assert (latents_of_one(generator, 0.0) - without).abs().max() < 1e-4
    assert (latents_of_one(generator, 0.5) - without).abs().max() > 1e-2


def test_the_same_batch_has_the_same_bytes(generator: DiffusionGenerator) -> None:
    requests = requests_of("tokens")
    images = [images_of(number) for number in range(len(requests))]

    def made() -> list[bytes | None]:
        found = generator.generate(
            requests, [first for first, *_ in images], more_images=[rest for _, *rest in images]
        )
        return [one.tobytes() if one else None for one in found]

    first = made()
    assert None not in first
    assert made() == first


def test_an_adapter_of_xlabs_works_on_the_same_model(tiny: Tiny, generator: DiffusionGenerator) -> None:
    xlabs = load(tiny.xlabs)
    request, source = one_prompt(0.5), source_of(0)
    theirs = latents_of_one(xlabs, 0.5)
    assert (theirs - stock_latents(pipeline_of(xlabs), request, source)).abs().max() < 1e-4
    assert (theirs - latents_of_one(generator, 0.5)).abs().max() > 1e-2


FAULTS = {
    "lacks tensors (2.to_v_ip.weight)": ("ip_adapter", "2.to_v_ip.weight", None),
    "has tensors that the model does not use (4.to_k_ip.weight)": (
        "ip_adapter",
        "4.to_k_ip.weight",
        torch.zeros(32, 32),
    ),
    "has tensors of the wrong shape (1.to_k_ip.weight)": (
        "ip_adapter",
        "1.to_k_ip.weight",
        torch.zeros(32, 31),
    ),
    "lacks tensors (norm.bias)": ("image_proj", "norm.bias", None),
    "has tensors that the model does not use (proj.3.bias)": ("image_proj", "proj.3.bias", torch.zeros(2)),
    "has tensors of the wrong shape (proj.2.bias)": ("image_proj", "proj.2.bias", torch.zeros(31)),
    "has tensors that the model does not use (controlnet)": ("controlnet", "weight", torch.zeros(2)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_tensor_that_is_missing_too_many_or_misshapen_is_named(
    tiny: Tiny, tmp_path: Path, fault: str
) -> None:
    part, name, value = FAULTS[fault]
    changed = {key: dict(tensors) for key, tensors in tiny.weights.items()}
    changed.setdefault(part, {}).pop(name, None)
    if value is not None:
        changed[part][name] = value
    torch.save(changed, tmp_path / "ip-adapter.bin")
    with pytest.raises(UserError, match=r"ip-adapter\.bin' (has|lacks) tensors .*--adapter") as refused:
        load(replace(tiny.preset, adapter=str(tmp_path)))
    assert fault in str(refused.value)


def test_a_safetensors_file_is_recognised_by_its_header(tiny: Tiny, tmp_path: Path) -> None:
    tensors = {
        f"{part}.{name}": value.clone()
        for part, values in tiny.weights.items()
        for name, value in values.items()
    }
    save_file(tensors, tmp_path / "whole.safetensors")
    preset = replace(tiny.preset, adapter=str(tmp_path), adapter_file="whole.safetensors")
    refuse_misfit(preset)
    del tensors["ip_adapter.2.to_k_ip.weight"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=r"lacks tensors \(2\.to_k_ip\.weight\).*--adapter"):
        refuse_misfit(replace(preset, adapter_file="less.safetensors"))


def test_an_image_encoder_of_another_kind_or_width_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    clip = replace(tiny.preset, image_encoder=f"{tiny.xlabs.adapter}/image_encoder:")
    with pytest.raises(UserError, match=r"image encoder \(SigLIP\) in .*--model-option image_encoder="):
        load(clip)
    save_siglip(tmp_path / "wide", 16)
    with pytest.raises(UserError, match=r"as 12 numbers, .* gives 16; name another SigLIP with"):
        load(replace(tiny.preset, image_encoder=f"{tmp_path}/wide:"))


def test_the_image_encoder_may_lie_in_a_whole_siglip(tiny: Tiny, tmp_path: Path) -> None:
    save_siglip(tmp_path / "whole", whole=True)
    generator = load(replace(tiny.preset, image_encoder=f"{tmp_path}/whole:"))
    assert isinstance(pipeline_of(generator).image_encoder, SiglipVisionModel)
