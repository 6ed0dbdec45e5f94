"""Kolors: each image of a mixed batch equals stock diffusers making it alone."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import KolorsImg2ImgPipeline, KolorsPipeline
from safetensors.torch import load_file, save_file
from tests.generation.stock import latents_of, load, request_of, source_of, stock_latents, stock_model
from tests.generation.tiny_kolors import save_kolors

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.checkpoint import refuse_misfit
from dalda.models.presets import PRESETS, SAMPLERS, Sampler, preset_named
from dalda.types import Capability

SCALES = (0.0, 0.35, 0.9, 0.6)
UNETS_SAMPLERS = [name for name in SAMPLERS if name != "flow-euler"]


@pytest.mark.parametrize(
    ("kind", "scheduler"), [("plus", "euler"), ("full", "euler"), *(("plain", x) for x in UNETS_SAMPLERS)]
)
def test_each_image_of_a_batch_equals_the_stock_pipeline_alone(
    tmp_path: Path, kind: str, scheduler: Sampler
) -> None:
    """Mixed prompts, scales, references, seeds and strengths."""
    generator = load(replace(save_kolors(tmp_path, kind), scheduler=scheduler, steps=4))
    requests = [replace(request_of(number, scale), steps=4) for number, scale in enumerate(SCALES)]
    requests[3] = replace(requests[3], strength=0.55)
    sources = [source_of(number) for number in range(len(requests))]
    ours = latents_of(generator, requests, sources)
    stock = []
    with stock_model(generator) as pipeline:
        assert type(pipeline) is KolorsPipeline
        for request, source in zip(requests, sources, strict=True):
            more: dict[str, Any] = {}
            used = pipeline
            if request.strength is not None:
                used = KolorsImg2ImgPipeline(**pipeline.components)
                more = {"image": source.resize((16, 16)), "strength": request.strength}
            stock.append(stock_latents(used, request, source, **more))
    expected = torch.cat(stock)
    assert (ours - expected).abs().max() < 1e-4 * expected.std().clamp(min=1)
    assert (ours[0] - ours[1]).abs().max() > 1e-2


def test_a_scale_of_0_is_the_model_without_an_adapter(tmp_path: Path) -> None:
    preset = save_kolors(tmp_path)
    request = request_of(0, 0.0)
    ours = latents_of(load(preset), [request], [source_of(0)])
    plain = KolorsPipeline.from_pretrained(preset.model)
    assert (ours - stock_latents(plain, request, None)).abs().max() < 1e-4


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_every_missing_tensor_is_refused(tmp_path: Path, part: str) -> None:
    preset = save_kolors(tmp_path)
    (file,) = (Path(preset.model) / part).glob("*.safetensors")
    weights = load_file(file)
    for name in list(weights)[:: max(1, len(weights) // 9)]:
        save_file({key: value for key, value in weights.items() if key != name}, file)
        with pytest.raises(UserError, match=f"lacks tensors \\({name}\\)"):
            GeneratorSpec(preset).load()


def test_a_folder_starts_from_the_preset_and_learns_no_concepts(tmp_path: Path) -> None:
    model = save_kolors(tmp_path).model
    assert preset_named(model) == replace(PRESETS["kolors"], model=model, variant=None, size=None)
    own = replace(save_kolors(tmp_path / "own"), model=model)
    assert Capability.CONCEPTS not in GeneratorSpec(own).load().capabilities


def test_without_sentencepiece_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dalda.generation.backends.checkpoint.find_spec", lambda name: None)
    assert importlib.util.find_spec("sentencepiece") is not None
    with pytest.raises(UserError, match=r"pip install 'dalda\[kolors\]'"):
        refuse_misfit(PRESETS["kolors"])
