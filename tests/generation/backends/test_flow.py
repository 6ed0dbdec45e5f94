"""SD3, FLUX.1 and Chroma: each image of a mixed batch equals the stock pipeline making it alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    ChromaImg2ImgPipeline,
    DiffusionPipeline,
    FluxImg2ImgPipeline,
    StableDiffusion3Img2ImgPipeline,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.generation.stock import request_of, source_of
from tests.generation.stock_flow import pipeline_of, stock_latents
from tests.generation.tiny_transformers import SIZE, tiny_preset

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.presets import Preset
from dalda.types import Capability, GenerationRequest

SCALES = (0.0, 0.35, 0.9)
FAMILIES = ("sd3", "flux", "chroma")
IMAGE_TO_IMAGE = {
    "sd3": StableDiffusion3Img2ImgPipeline,
    "flux": FluxImg2ImgPipeline,
    "chroma": ChromaImg2ImgPipeline,
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def preset(family: str, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return tiny_preset(tmp_path_factory.mktemp(family), family)


@pytest.fixture(scope="module")
def generator(preset: Preset) -> DiffusionGenerator:
    return load(preset)


def load(preset: Preset) -> DiffusionGenerator:
    loaded = GeneratorSpec(preset).load()
    assert isinstance(loaded, DiffusionGenerator)
    return loaded


def latents_of(
    generator: DiffusionGenerator, requests: list[GenerationRequest], sources: list[Image.Image]
) -> torch.Tensor:
    with torch.no_grad():
        return generator.denoise(requests, sources)


def test_a_mixed_batch_equals_each_image_made_alone(generator: DiffusionGenerator) -> None:
    requests = [request_of(number, scale) for number, scale in enumerate(SCALES)]
    sources = [source_of(number) for number in range(len(requests))]
    ours = latents_of(generator, requests, sources)
    stock = torch.cat(
        [
            stock_latents(pipeline_of(generator), request, source)
            for request, source in zip(requests, sources, strict=True)
        ]
    )
    assert (ours - stock).abs().max() < 1e-4
    one_scale = latents_of(generator, [replace(one, ip_adapter_scale=0.35) for one in requests], sources)
    assert (ours[2] - one_scale[2]).abs().max() > 1e-3


def test_scale_zero_is_a_model_without_an_adapter(generator: DiffusionGenerator, preset: Preset) -> None:
    request = request_of(0, 0.0)
    ours = latents_of(generator, [request], [source_of(0)])
    stock = stock_latents(DiffusionPipeline.from_pretrained(preset.model), request, None)
    assert (ours - stock).abs().max() < 1e-4
    without = load(replace(preset, adapter=None))
    assert without.capabilities == {Capability.INIT_IMAGE}
    assert (
        torch.equal(latents_of(without, [request], [source_of(0)]), stock)
        or (ours - stock).abs().max() < 1e-4
    )


def test_a_strength_per_image_equals_image_to_image(generator: DiffusionGenerator, family: str) -> None:
    strengths = (0.9, 0.4, 0.6)
    requests = [
        replace(request_of(number, 0.3 * number), strength=strength, steps=4)
        for number, strength in enumerate(strengths)
    ]
    sources = [source_of(number) for number in range(len(requests))]
    ours = latents_of(generator, requests, sources)
    kind: Any = IMAGE_TO_IMAGE[family]
    pipeline = kind(**pipeline_of(generator).components)
    stock = torch.cat(
        [
            stock_latents(pipeline, request, source, image=source, strength=request.strength)
            for request, source in zip(requests, sources, strict=True)
        ]
    )
    assert (ours - stock).abs().max() < 1e-4


def test_the_images_are_those_of_the_stock_pipeline(generator: DiffusionGenerator) -> None:
    request, source = request_of(1, 0.5), source_of(1)
    (ours,) = generator.generate([request], [source])
    again = generator.generate([request], [source])[0]
    assert ours is not None
    assert again is not None
    assert ours.size == (SIZE, SIZE)
    assert ours.tobytes() == again.tobytes()


def test_an_adapter_that_lacks_a_block_is_refused(preset: Preset, tmp_path: Path) -> None:
    weights = load_file(Path(str(preset.adapter)) / "tiny.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if ".1." not in name}, tmp_path / "a.safetensors"
    )
    with pytest.raises(UserError, match="lacks tensors") as refused:
        load(replace(preset, adapter=str(tmp_path), adapter_file="a.safetensors"))
    assert "\n" not in str(refused.value)


def test_a_size_that_is_no_multiple_is_refused(preset: Preset) -> None:
    with pytest.raises(UserError, match="choose a multiple of 4 with --model-option size="):
        load(replace(preset, size=18))


def test_a_scheduler_of_other_models_is_refused(preset: Preset) -> None:
    with pytest.raises(UserError, match="cannot be sampled with ddim; choose --scheduler flow-euler"):
        load(replace(preset, scheduler="ddim"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lora": "somebody/lora"}, "which has no use for --lora; leave it out"),
        ({"vae": "somebody/vae"}, "which has no use for --vae"),
        ({"adapter_blocks": {"up": 1.0}}, "which has no use for --model-option adapter_blocks"),
        ({"noise_schedule": {}}, "which has no use for --model-option noise_schedule"),
    ],
)
def test_options_of_other_families_are_refused(
    preset: Preset, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        load(replace(preset, **changes))
