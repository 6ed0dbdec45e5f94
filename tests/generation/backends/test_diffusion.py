"""A strength per image: a mixed batch equals each image made alone by stock diffusers' image-to-image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline
from PIL import Image
from tests.generation.stock import (
    latents_of,
    load,
    preset_of,
    request_of,
    source_of,
    stock_latents,
    stock_model,
)

from dalda.generation.backends.diffusion import DiffusionGenerator, shaped_like
from dalda.generation.backends.schedulers import first_step
from dalda.models.presets import SAMPLERS, Sampler
from dalda.types import GenerationRequest

STRENGTHS = (1.0, 0.3, None, 0.55, 0.8)
STEPS = 4


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "xl"])
def generator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DiffusionGenerator:
    return load(preset_of(tmp_path_factory.mktemp("tiny"), xl=request.param))


def requests_of(scale: float = 0.0) -> list[GenerationRequest]:
    return [
        replace(request_of(number, scale), strength=strength, steps=STEPS)
        for number, strength in enumerate(STRENGTHS)
    ]


def stock_image_to_image(pipeline: Any, request: GenerationRequest, source: Image.Image) -> torch.Tensor:
    if request.strength is None:
        return stock_latents(pipeline, request, source)
    xl = "text_encoder_2" in pipeline.components
    kind = StableDiffusionXLImg2ImgPipeline if xl else StableDiffusionImg2ImgPipeline
    more = {} if xl else {"requires_safety_checker": False, "safety_checker": None}
    parts = {name: part for name, part in pipeline.components.items() if name not in more}
    return stock_latents(
        kind(**parts, **more), request, source, image=source.resize((16, 16)), strength=request.strength
    )


@pytest.mark.parametrize("scale", [0.0, 0.7])
def test_a_mixed_batch_equals_each_image_made_alone(generator: DiffusionGenerator, scale: float) -> None:
    requests = requests_of(scale)
    sources = [source_of(number) for number in range(len(requests))]
    ours = latents_of(generator, requests, sources)
    with stock_model(generator) as pipeline:
        stock = [
            stock_image_to_image(pipeline, request, source)
            for request, source in zip(requests, sources, strict=True)
        ]
    difference = (ours - torch.cat(stock)).abs().amax(dim=(1, 2, 3))
    assert difference.max() < 1e-4, difference
    assert (ours[1] - ours[3]).abs().max() > 1e-2


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "flow-euler"])
def test_every_scheduler_keeps_the_history_of_its_own_rows(tmp_path: Path, name: Sampler) -> None:
    preset = replace(preset_of(tmp_path), scheduler=name, steps=STEPS)
    generator = load(preset)
    requests = requests_of(0.4)
    sources = [source_of(number) for number in range(len(requests))]
    ours = latents_of(generator, requests, sources)
    with stock_model(generator) as pipeline:
        stock = torch.cat(
            [
                stock_image_to_image(pipeline, request, source)
                for request, source in zip(requests, sources, strict=True)
            ]
        )
    assert (ours - stock).abs().max() < 1e-4 * stock.std().clamp(min=1)


def test_a_weak_strength_keeps_the_source_and_runs_few_steps(generator: DiffusionGenerator) -> None:
    rows: list[int] = []
    denoise = generator.denoiser.predict

    def count(latents: torch.Tensor, *rest: Any) -> torch.Tensor:
        rows.append(len(latents))
        return denoise(latents, *rest)

    generator.denoiser.predict = count  # type: ignore[assignment, method-assign]
    try:
        latents_of(generator, requests_of(), [source_of(0)] * len(STRENGTHS))
    finally:
        generator.denoiser.predict = denoise  # type: ignore[method-assign]
    # Twice the rows that have started: two at once, then one more at each step.
    assert rows == [4, 6, 8, 10]


def test_the_weakest_strength_gives_the_source_back(generator: DiffusionGenerator) -> None:
    """All but the error of the autoencoder, by the last of 1,000 steps."""
    request = replace(request_of(0, 0.0), strength=0.001, steps=1000)
    (image,) = generator.generate([request], [source_of(0)])
    seeded = torch.Generator().manual_seed(request.seed)
    with torch.no_grad():
        encoded = generator.latent_space.encode("source0", source_of(0), seeded)
        (expected,) = generator.latent_space.decode(encoded)
    (other,) = generator.generate([replace(request, strength=0.8, steps=5)], [source_of(0)])
    weak, same, strong = (np.asarray(each).astype(float) for each in (image, expected, other))
    assert np.abs(weak - same).mean() < 4
    assert np.abs(strong - same).mean() > 4 * np.abs(weak - same).mean()


def test_other_rows_do_not_change_an_image(generator: DiffusionGenerator) -> None:
    requests, sources = requests_of(0.5), [source_of(number) for number in range(len(STRENGTHS))]
    together = latents_of(generator, requests, sources)
    alone = torch.cat(
        [latents_of(generator, [one], [source]) for one, source in zip(requests, sources, strict=True)]
    )
    assert (together - alone).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("strength", "steps", "start"),
    [(None, 10, 0), (1.0, 10, 0), (0.5, 10, 5), (0.15, 30, 26), (0.01, 10, 9), (0.99, 1, 0)],
)
def test_the_first_step(strength: float | None, steps: int, start: int) -> None:
    assert first_step(strength, steps) == start


@pytest.mark.parametrize(
    ("size", "sides"),
    [("model", (64, 48)), ("source", (400, 300)), (100, (100, 75)), (32, (32, 24))],
)
def test_the_size_of_an_image(size: int | str, sides: tuple[int, int]) -> None:
    square = Image.effect_noise((64, 64), 90).convert("RGB")
    image = shaped_like(Image.new("RGB", (400, 300)), square, size)
    assert image is not None
    assert image.tobytes() == square.resize(sides, Image.Resampling.BILINEAR).tobytes()


def test_a_small_source_is_enlarged_only_to_a_number_of_pixels() -> None:
    square, source = Image.new("RGB", (64, 64)), Image.new("RGB", (40, 20))
    images = [shaped_like(source, square, size) for size in ("model", "source", 80)]
    assert [image and image.size for image in images] == [
        (40, 20),
        (40, 20),
        (80, 40),
    ]
