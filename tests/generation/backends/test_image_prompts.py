"""Several image prompts at once: each image of a batch equals the stock pipeline with the same images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.generation import stock, stock_flow
from tests.generation.stock import preset_of, request_of, source_of
from tests.generation.tiny_transformers import tiny_preset

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec, generate_from
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.plan import refuse_incapable
from dalda.methods.base import method_named, method_options
from dalda.types import Capability, GenerationRequest

MODELS = ("sd plain", "sd plus", "xl full", "flux", "chroma")
SCALES = (0.0, 0.35, 0.9)
MORE = 2


@pytest.fixture(scope="module", params=MODELS)
def generator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DiffusionGenerator:
    return loaded(request.param, tmp_path_factory.mktemp("tiny"))


def loaded(model: str, folder: Path) -> DiffusionGenerator:
    family, _, kind = model.partition(" ")
    preset = preset_of(folder, kind, xl=family == "xl") if kind else tiny_preset(folder, family)
    found = GeneratorSpec(preset).load()
    assert isinstance(found, DiffusionGenerator)
    return found


def requests_of(merging: str) -> list[GenerationRequest]:
    """Each with its source and two further images of its own."""
    return [
        replace(
            request_of(number, scale),
            more_sources=(Path("b.png"), Path("c.png")),
            more_source_sha256s=(f"more{number}", f"last{number}"),
            image_prompt_merging=merging,
        )
        for number, scale in enumerate(SCALES)
    ]


def images_of(number: int) -> list[Image.Image]:
    return [source_of(10 * number + place) for place in range(1 + MORE)]


def latents_of(generator: DiffusionGenerator, requests: list[GenerationRequest]) -> torch.Tensor:
    images = [images_of(one.seed - 100) for one in requests]
    with torch.no_grad():
        return generator.denoise(
            requests, [first for first, *_ in images], more_images=[rest for _, *rest in images]
        )


class MeanOfTokens(torch.nn.Module):
    """A stock projection, then the mean over the images."""

    def __init__(self, projection: Any) -> None:
        super().__init__()
        self.projection = projection
        self.image_projection_layers = projection.image_projection_layers
        self.num_ip_adapters = 1

    def forward(self, embeds: list[torch.Tensor]) -> list[torch.Tensor]:
        (one,) = embeds
        tokens = [self.projection([one[:, place : place + 1]])[0] for place in range(one.shape[1])]
        return [sum(tokens) / len(tokens)]


@contextmanager
def stock_way(generator: DiffusionGenerator, merging: str) -> Iterator[Callable[..., torch.Tensor]]:
    if hasattr(generator.conditioner, "encoders"):
        pipeline, latents = stock_flow.pipeline_of(generator), stock_flow.stock_latents
        model, way = pipeline.transformer, None
    else:
        way = stock.stock_model(generator)
        pipeline, latents = way.__enter__(), stock.stock_latents
        model = pipeline.unet
    projection = model.encoder_hid_proj
    if merging == "mean":
        model.encoder_hid_proj = MeanOfTokens(projection)
    try:
        yield lambda request, images: latents(pipeline, request, [images])
    finally:
        model.encoder_hid_proj = projection
        if way is not None:
            way.__exit__(None, None, None)


@pytest.mark.parametrize("merging", ["tokens", "mean"])
def test_each_image_of_a_batch_equals_the_stock_pipeline(
    generator: DiffusionGenerator, merging: str
) -> None:
    assert {Capability.SEVERAL_IMAGE_PROMPTS, Capability.AVERAGED_IMAGE_PROMPTS} <= generator.capabilities
    requests = requests_of(merging)
    ours = latents_of(generator, requests)
    with stock_way(generator, merging) as latents:
        made = [latents(request, images_of(number)) for number, request in enumerate(requests)]
    assert (ours - torch.cat(made)).abs().max() < 1e-4
    one = generator.denoise(
        [replace(each, more_sources=(), more_source_sha256s=()) for each in requests],
        [images_of(number)[0] for number in range(len(requests))],
    )
    assert (ours[0] - one[0]).abs().max() < 1e-4  # a scale of 0
    assert (ours[2] - one[2]).abs().max() > 1e-4


def test_the_images_of_a_request_come_in_the_order_of_its_files(generator: DiffusionGenerator) -> None:
    requests = requests_of("tokens")
    images = [images_of(number) for number in range(len(requests))]
    assert [len(one.source_files) for one in requests] == [1 + MORE] * len(requests)
    direct = generator.generate(
        requests, [first for first, *_ in images], more_images=[rest for _, *rest in images]
    )
    through = generate_from(generator, requests, images)
    assert [one.tobytes() for one in direct if one] == [one.tobytes() for one in through if one]
    assert None not in direct


def test_a_model_that_reads_one_image_is_refused() -> None:
    method = method_named("dalda")
    needs = method.needs_with(method_options(method, {"image_prompts": 3, "image_prompt_merging": "mean"}))
    one = frozenset({Capability.IMAGE_PROMPT})
    with pytest.raises(UserError, match="needs averaged-image-prompts and several-image-prompts, which"):
        refuse_incapable("dalda", needs, "sd35", one)
    refuse_incapable("dalda", method.needs_with(method_options(method, {})), "sd35", one)


def test_a_second_image_prompt_is_not_merged(tmp_path: Path) -> None:
    generator = loaded("sd plain", tmp_path)
    request, (first, *rest) = requests_of("tokens")[1], images_of(1)
    with pytest.raises(ValueError, match="either a second image prompt or several"):
        generator.generate([request], [first], [first], [rest])
