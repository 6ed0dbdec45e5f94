"""Pipelines with a strength and no image prompt: each image equals the stock pipeline making it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import ZImageImg2ImgPipeline, ZImagePipeline
from tests.generation.stock import request_of, source_of
from tests.generation.tiny_transformers import SIZE, tiny_preset

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.image_to_image import ImageToImageGenerator, strength_of
from dalda.models.presets import Preset


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return tiny_preset(tmp_path_factory.mktemp("z-image"), "z-image")


@pytest.fixture(scope="module")
def generator(preset: Preset) -> ImageToImageGenerator:
    loaded = GeneratorSpec(preset).load()
    assert isinstance(loaded, ImageToImageGenerator)
    return loaded


def test_each_image_of_mixed_scales_equals_the_stock_pipeline(
    generator: ImageToImageGenerator, preset: Preset
) -> None:
    requests = [replace(request_of(n, scale), steps=4) for n, scale in enumerate((0.0, 0.25, 0.7))]
    sources = [source_of(number) for number in range(len(requests))]
    ours = generator.generate(requests, sources)
    text = ZImagePipeline.from_pretrained(preset.model)
    image = ZImageImg2ImgPipeline(**text.components)
    for number, (request, source) in enumerate(zip(requests, sources, strict=True)):
        more = {} if number == 0 else {"image": source, "strength": 1 - request.ip_adapter_scale}
        stock = (text if number == 0 else image)(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            num_inference_steps=4,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            height=SIZE,
            width=SIZE,
            **more,
        ).images[0]
        found = ours[number]
        assert found is not None
        difference = torch.tensor(list(found.tobytes())).int() - torch.tensor(list(stock.tobytes())).int()
        assert difference.abs().max() <= 1


@pytest.mark.parametrize(
    ("scale", "strength", "expected"),
    [
        (0.0, None, None),
        (0.25, None, 0.75),
        (1.0, None, 1.0001 / 3),
        (0.9, 0.3, 0.3),
        (2.0, None, 1.0001 / 3),
    ],
)
def test_the_scale_as_a_strength(scale: float, strength: float | None, expected: float | None) -> None:
    assert strength_of(replace(request_of(0, scale), strength=strength)) == expected


def test_half_of_the_weights_is_refused(preset: Preset) -> None:
    file = next((Path(preset.model) / "transformer").glob("*.safetensors"))
    kept = file.read_bytes()
    file.write_bytes(kept[: len(kept) // 2])
    try:
        with pytest.raises(UserError, match="--model") as refused:
            GeneratorSpec(preset).load()
        assert "\n" not in str(refused.value)
    finally:
        file.write_bytes(kept)
