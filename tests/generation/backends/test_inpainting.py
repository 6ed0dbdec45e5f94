"""A mask per image: a mixed batch equals each image made alone by stock diffusers' inpainting."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image
from tests.generation.backends.test_diffusion import stock_image_to_image
from tests.generation.stock import load, preset_of, request_of, source_of, stock_latents, stock_model

from dalda.datasets.masks import edited_region
from dalda.generation.backends.base import generate_from
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.presets import SAMPLERS, Sampler
from dalda.types import GenerationRequest

STEPS, SIDE = 4, 16
STRENGTHS = (0.5, 1.0, 0.55, None, None, 0.8)
MASKED = (True, True, False, True, False, True)
NOISY_STEPS = ("lcm", "euler-ancestral", "flow-euler")
"""Schedulers whose steps draw noise: stock inpainting draws some before, for an image without use."""


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "xl"])
def generator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DiffusionGenerator:
    return load(preset_of(tmp_path_factory.mktemp("tiny"), xl=request.param))


def mask_of(number: int) -> Image.Image:
    """Soft edges too: half and more is white."""
    return Image.fromarray(np.random.default_rng(50 + number).integers(0, 256, (SIDE, SIDE), np.uint8))


def requests_of(scale: float = 0.0) -> list[GenerationRequest]:
    return [
        replace(request_of(number, scale), strength=strength, steps=STEPS)
        for number, strength in enumerate(STRENGTHS)
    ]


def latents_of(
    generator: DiffusionGenerator, requests: list[GenerationRequest], masks: list[Image.Image | None]
) -> torch.Tensor:
    with torch.no_grad():
        return generator.denoise(requests, [source_of(n) for n in range(len(requests))], masks=masks)


def stock_inpainting(
    pipeline: Any, request: GenerationRequest, source: Image.Image, mask: Image.Image | None
) -> torch.Tensor:
    if mask is None:
        return stock_image_to_image(pipeline, request, source)
    xl = "text_encoder_2" in pipeline.components
    kind = StableDiffusionXLInpaintPipeline if xl else StableDiffusionInpaintPipeline
    more = {} if xl else {"requires_safety_checker": False, "safety_checker": None}
    parts = {name: part for name, part in pipeline.components.items() if name not in more}
    strength = 1.0 if request.strength is None else request.strength
    given = {"image": source.resize((SIDE, SIDE)), "mask_image": mask, "strength": strength}
    return stock_latents(kind(**parts, **more), request, source, height=SIDE, width=SIDE, **given)


def difference_from_stock(generator: DiffusionGenerator, requests: list[GenerationRequest]) -> torch.Tensor:
    masks = [mask_of(n) if masked else None for n, masked in enumerate(MASKED)]
    ours = latents_of(generator, requests, masks)
    with stock_model(generator) as pipeline:
        stock = torch.cat(
            [
                stock_inpainting(pipeline, request, source_of(n), mask)
                for n, (request, mask) in enumerate(zip(requests, masks, strict=True))
            ]
        )
    return (ours - stock).abs().amax(dim=(1, 2, 3)) / stock.std().clamp(min=1)


@pytest.mark.parametrize("scale", [0.0, 0.7])
def test_a_mixed_batch_equals_each_image_made_alone(generator: DiffusionGenerator, scale: float) -> None:
    """With a mask or without, from noise or at a strength, all in one batch."""
    difference = difference_from_stock(generator, requests_of(scale))
    assert difference.max() < 1e-4, difference


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in NOISY_STEPS])
def test_every_scheduler_adds_the_noise_of_its_next_step(tmp_path: Path, name: Sampler) -> None:
    generator = load(replace(preset_of(tmp_path), scheduler=name, steps=STEPS))
    difference = difference_from_stock(generator, requests_of(0.4))
    assert difference.max() < 1e-4, difference


@pytest.mark.parametrize("name", ["ddim", "lcm"])
def test_what_is_kept_is_the_source(tmp_path: Path, name: Sampler) -> None:
    generator = load(replace(preset_of(tmp_path), scheduler=name, steps=STEPS))
    requests = requests_of(0.4)
    white, black = (Image.new("L", (SIDE, SIDE), shade) for shade in (255, 0))
    all_kept = latents_of(generator, requests, [black] * len(requests))
    for number, (request, latents) in enumerate(zip(requests, all_kept, strict=True)):
        noise = torch.Generator().manual_seed(request.seed)
        source = generator.latent_space.encode(f"source{number}", source_of(number), noise)
        assert torch.equal(latents[None], source)
    plain = latents_of(generator, requests, [None] * len(requests))
    all_new = latents_of(generator, requests, [white] * len(requests))
    same = [strength not in (None, 1.0) for strength in STRENGTHS]
    assert torch.equal(all_new[same], plain[same])
    # Inpainting at a strength of 1 is from noise alone, with the noise that comes after the source's.
    assert (all_new[1] - plain[1]).abs().max() > 1e-3


def test_the_mask_of_a_request_reaches_the_model_grown_and_inverted(generator: DiffusionGenerator) -> None:
    mask = Image.new("L", (40, 40))
    mask.paste(1, (10, 10, 20, 20))
    asked = replace(request_of(0, 0.0), strength=0.5, mask=Path("m.png"), mask_sha256="m", mask_growth=0.25)
    requests = [asked, replace(asked, mask_inverted=True), request_of(2, 0.0)]
    source = source_of(0)
    images = generate_from(generator, requests, [[source, mask], [source, mask], [source]])
    white = edited_region(mask, SIDE, 0.25, False)
    black = edited_region(mask, SIDE, 0.25, True)
    with torch.no_grad():
        expected = generator.generate(requests, [source] * 3, masks=[white, black, None])
    assert [image and image.tobytes() for image in images] == [one and one.tobytes() for one in expected]
    assert len({image.tobytes() for image in images if image}) == 3
