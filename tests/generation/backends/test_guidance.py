"""Guidance with a second image prompt: four separate UNet calls, written out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.generation.stock import load, preset_of, request_of, source_of

from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.types import GenerationRequest


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGenerator:
    return load(preset_of(tmp_path_factory.mktemp("tiny")))


def request_for(number: int, positive: float, negative: float) -> GenerationRequest:
    return replace(
        request_of(number, 0.6),
        second_source=Path("b.png"),
        second_source_sha256="other",
        image_guidance_scale=positive,
        second_image_guidance_scale=negative,
    )


def prediction(
    generator: DiffusionGenerator,
    request: GenerationRequest,
    latents: torch.Tensor,
    scales: tuple[float, ...],
) -> torch.Tensor:
    """One UNet call of one row: the prompt, with each image prompt at its own scale."""
    conditioner: Any = generator.conditioner
    images = [conditioner.encoded("source", source_of(5)), conditioner.encoded("other", source_of(6))]
    with torch.no_grad():
        found: torch.Tensor = conditioner.pipeline.unet(
            latents,
            generator.scheduler.timesteps[0],
            conditioner.text(request.prompt if len(scales) else request.negative_prompt)[0],
            added_cond_kwargs={"image_embeds": [torch.stack(images, 1)]},
            cross_attention_kwargs={
                "ip_adapter_scale": torch.tensor([[[s] for s in scales or (0.0, 0.0)]])
            },
            return_dict=False,
        )[0]
    return found


def first_step(
    generator: DiffusionGenerator, request: GenerationRequest
) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise that the first step starts from, and the guided prediction that it takes."""
    taken: list[torch.Tensor] = []
    stock = generator.scheduler.step

    def step(predicted: torch.Tensor, *rest: Any, **more: Any) -> Any:
        taken.append(predicted)
        return stock(predicted, *rest, **more)

    generator.scheduler.step = step
    try:
        with torch.no_grad():
            generator.denoise([request], [source_of(5)], second_images=[source_of(6)])
    finally:
        generator.scheduler.step = stock
    noise = torch.randn(
        (1, *generator.latent_space.shape), generator=torch.Generator().manual_seed(request.seed)
    )
    return noise * generator.scheduler.init_noise_sigma, taken[0]


def test_a_step_with_a_second_image_is_four_separate_calls(generator: DiffusionGenerator) -> None:
    request = replace(request_for(0, 6.0, -6.0), source_sha256="source")
    noise, taken = first_step(generator, request)
    nothing = prediction(generator, request, noise, ())
    text = prediction(generator, request, noise, (0.0, 0.0))
    image = prediction(generator, request, noise, (0.6, 0.0))
    both = prediction(generator, request, noise, (0.6, 0.6))
    expected = nothing + 4.0 * (text - nothing) + 6.0 * (image - text) - 6.0 * (both - image)
    assert (taken - expected).abs().max() < 1e-4
    assert (both - image).abs().max() > 1e-3


def test_without_a_negative_weight_it_is_plain_guidance(generator: DiffusionGenerator) -> None:
    request = replace(request_for(0, 4.0, 0.0), source_sha256="source")
    noise, taken = first_step(generator, request)
    nothing = prediction(generator, request, noise, ())
    image = prediction(generator, request, noise, (0.6, 0.0))
    assert (taken - (nothing + 4.0 * (image - nothing))).abs().max() < 1e-4


def test_other_rows_do_not_change_an_image(generator: DiffusionGenerator) -> None:
    requests = [replace(request_for(n, 6.0, -6.0), strength=(None, 0.5)[n]) for n in (0, 1)]
    sources, seconds = [source_of(0), source_of(1)], [source_of(6), source_of(6)]
    with torch.no_grad():
        together = generator.denoise(requests, sources, second_images=seconds)
        alone = torch.cat(
            [generator.denoise([requests[n]], [sources[n]], second_images=[seconds[n]]) for n in (0, 1)]
        )
    assert (together - alone).abs().max() < 1e-4
