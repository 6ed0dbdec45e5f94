"""FLUX.2 klein: a reference and a scale per image, between the stock pipeline's ways with and without."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image
from tests.generation.stock import request_of
from tests.generation.stock import source_of as small_source
from tests.generation.tiny_transformers import tiny_preset

from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.types import Capability, GenerationRequest

SIZE = 64
"""The stock pipeline takes no smaller reference."""


def source_of(number: int) -> Image.Image:
    return small_source(number).resize((SIZE, SIZE))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> DiffusionGenerator:
    loaded = GeneratorSpec(
        replace(tiny_preset(tmp_path_factory.mktemp("klein"), "klein"), size=SIZE)
    ).load()
    assert isinstance(loaded, DiffusionGenerator)
    return loaded


def latents_of(generator: DiffusionGenerator, requests: list[GenerationRequest]) -> torch.Tensor:
    with torch.no_grad():
        return generator.denoise(requests, [source_of(one.seed - 100) for one in requests])


def stock_latents(
    generator: DiffusionGenerator,
    request: GenerationRequest,
    image: Image.Image | list[Image.Image] | None,
) -> torch.Tensor:
    """Normalised latents in patches, as ours are; the stock pipeline returns its autoencoder's."""
    conditioner: Any = generator.conditioner
    pipeline = conditioner.encoders.pipeline
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        image=image,
        prompt=request.prompt,
        num_inference_steps=request.steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(request.seed),
        height=SIZE,
        width=SIZE,
        output_type="latent",
    ).images
    space: Any = generator.latent_space
    scaled: torch.Tensor = space._scaled(made)
    return scaled


def test_a_mixed_batch_equals_the_stock_pipeline_with_and_without_references(
    generator: DiffusionGenerator,
) -> None:
    assert generator.capabilities == {Capability.IMAGE_PROMPT, Capability.SEVERAL_IMAGE_PROMPTS}
    requests = [request_of(number, scale) for number, scale in enumerate((0.0, 1.0, 0.4, 1.0))]
    ours = latents_of(generator, requests)
    for number in (0, 1, 3):
        source = None if number == 0 else source_of(number)
        stock = stock_latents(generator, requests[number], source)
        assert (ours[number] - stock[0]).abs().max() < 1e-4
    alone = torch.cat([latents_of(generator, [request]) for request in requests])
    assert (ours - alone).abs().max() < 1e-4
    assert (ours[1] - ours[3]).abs().max() > 1e-2


def test_several_references_equal_the_stock_pipeline(generator: DiffusionGenerator) -> None:
    requests = [
        replace(request_of(number, scale, f"a{number}"), more_source_sha256s=(f"b{number}", f"c{number}"))
        for number, scale in enumerate((1.0, 0.0, 1.0))
    ]
    images = [[source_of(10 * number + place) for place in range(3)] for number in range(3)]
    with torch.no_grad():
        ours = generator.denoise(
            requests, [first for first, *_ in images], more_images=[rest for _, *rest in images]
        )
    for number, request in enumerate(requests):
        stock = stock_latents(generator, request, images[number] if request.ip_adapter_scale else None)
        assert (ours[number] - stock[0]).abs().max() < 1e-4
    with pytest.raises(ValueError, match="shorter"):
        latents_of(generator, requests)
    assert Capability.AVERAGED_IMAGE_PROMPTS not in generator.capabilities


def test_the_scale_is_image_guidance(generator: DiffusionGenerator) -> None:
    """Of one step, whose result is linear in the velocity v0 + scale (v_reference - v0)."""
    scales = (0.0, 1.0, 0.3, 2.0)
    requests = [replace(request_of(0, scale), steps=1) for scale in scales]
    without, with_reference, *others = latents_of(generator, requests)
    for scale, latents in zip(scales[2:], others, strict=True):
        assert torch.allclose(latents, without + scale * (with_reference - without), atol=1e-4)


def test_images_are_those_of_the_stock_pipeline(generator: DiffusionGenerator) -> None:
    (image,) = generator.generate([request_of(1, 1.0)], [source_of(1)])
    assert image is not None
    assert image.size == (SIZE, SIZE)
    conditioner: Any = generator.conditioner
    pipeline: Flux2KleinPipeline = conditioner.encoders.pipeline
    stock = pipeline(
        image=source_of(1),
        prompt=request_of(1, 1.0).prompt,
        num_inference_steps=request_of(1, 1.0).steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(101),
        height=SIZE,
        width=SIZE,
    ).images[0]
    difference = torch.tensor(list(image.tobytes())).int() - torch.tensor(list(stock.tobytes())).int()
    assert difference.abs().max() <= 1
