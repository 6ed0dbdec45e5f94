"""Pipelines with a strength and no image prompt: each image equals the stock pipeline making it."""

from dataclasses import replace

import diffusers
import pytest
import torch
from tests.generation.stock import request_of, source_of
from tests.generation.tiny_transformers import tiny_preset

from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.image_to_image import ImageToImageGenerator, strength_of
from dalda.models.presets import Preset

FAMILIES = {
    "z-image": (16, "ZImage", "guidance_scale"),
    "qwen-image": (16, "QwenImage", "true_cfg_scale"),
    "sana-sprint": (32, "SanaSprint", "guidance_scale"),
}
"""Name -> pixels, what its classes are called, and what it calls the guidance scale."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def preset(family: str, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return replace(tiny_preset(tmp_path_factory.mktemp(family), family), size=FAMILIES[family][0])


@pytest.fixture(scope="module")
def generator(preset: Preset) -> ImageToImageGenerator:
    loaded = GeneratorSpec(preset).load()
    assert isinstance(loaded, ImageToImageGenerator)
    return loaded


@pytest.mark.parametrize("steps", [4, 2])
def test_each_image_of_mixed_scales_equals_the_stock_pipeline(
    generator: ImageToImageGenerator, preset: Preset, family: str, steps: int
) -> None:
    """Prompts, seeds and sources differ too; 0 is text alone, the third has a strength of its own.

    The last strength is less than a step, of which the stock pipeline runs one.
    """
    scales = (0.0, 0.25, 0.9, 0.45, 0.95)
    requests = [replace(request_of(n, scale), steps=steps) for n, scale in enumerate(scales)]
    requests[2] = replace(requests[2], strength=0.6)
    size, named, guidance = FAMILIES[family]
    sources = [source_of(number).resize((size, size)) for number in range(len(requests))]
    ours = generator.generate(requests, sources)
    again = generator.generate(requests, sources)
    assert [one and one.tobytes() for one in ours] == [one and one.tobytes() for one in again]
    text = getattr(diffusers, f"{named}Pipeline").from_pretrained(preset.model)
    image = getattr(diffusers, f"{named}Img2ImgPipeline")(**text.components)
    for request, source, found, strength in zip(
        requests, sources, ours, (None, 0.75, 0.6, 0.55, 0.05), strict=True
    ):
        more = {} if strength is None else {"image": source, "strength": strength}
        if family == "sana-sprint":
            more |= {"use_resolution_binning": False, "intermediate_timesteps": 1.3 if steps == 2 else None}
        else:
            more["negative_prompt"] = request.negative_prompt
        stock = (text if strength is None else image)(
            prompt=request.prompt,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(request.seed),
            height=size,
            width=size,
            output_type="pt",
            **{guidance: request.guidance_scale},
            **more,
        ).images[0]
        assert found is not None
        pixels = torch.tensor(list(found.tobytes())).view(size, size, 3).permute(2, 0, 1) / 255
        # Half of a step of the bytes that images are saved in.
        assert (pixels - stock.clamp(0, 1)).abs().max() < 0.5 / 255 + 1e-4
    assert ours[1]
    assert ours[3]
    assert ours[1].tobytes() != ours[3].tobytes()


def test_the_highest_scale_runs_one_step(generator: ImageToImageGenerator) -> None:
    """By the stock pipeline's own count, which takes a strength of 0 for no step at all."""
    for steps in (1, 2, 3, 7, 49, 50, 98, 999):
        strength = strength_of(replace(request_of(0, 1.0), steps=steps))
        assert generator.from_image.get_timesteps(steps, strength, "cpu")[1] == 1


@pytest.mark.parametrize(
    ("scale", "strength", "expected"),
    [
        (0.0, None, None),
        (0.25, None, 0.75),
        (1.0, None, 1 / 3),
        (0.9, 0.3, 0.3),
        (2.0, None, 1 / 3),
    ],
)
def test_the_scale_as_a_strength(scale: float, strength: float | None, expected: float | None) -> None:
    assert strength_of(replace(request_of(0, scale), strength=strength)) == expected
