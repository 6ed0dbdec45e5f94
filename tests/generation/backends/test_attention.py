"""A lambda per image: a mixed batch equals each image made alone by stock diffusers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from tests.generation.stock import (
    latents_of,
    load,
    pipeline_of,
    preset_of,
    request_of,
    source_of,
    stock_latents,
    stock_model,
    stock_of,
)
from tests.generation.tiny import save_tiny

from dalda.errors import UserError
from dalda.generation.backends.attention import install
from dalda.generation.backends.diffusion import DiffusionGenerator

LAMBDAS = (0.0, 0.15, 0.5, 0.9, 1.7)
MODELS = {
    "sd plain": ("plain", False),
    "sd full": ("full", False),
    "sd plus": ("plus", False),
    "xl plain": ("plain", True),
    "xl full": ("full", True),
    "xl plus": ("plus", True),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=list(MODELS))
def generator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DiffusionGenerator:
    kind, xl = request.param
    return load(preset_of(tmp_path_factory.mktemp("tiny"), kind, xl=xl))


def test_a_mixed_batch_equals_each_image_made_alone_by_stock_diffusers(
    generator: DiffusionGenerator,
) -> None:
    requests = [request_of(number, weight) for number, weight in enumerate(LAMBDAS)]
    sources = [source_of(number) for number in range(len(requests))]
    ours = latents_of(generator, requests, sources)
    with stock_model(generator) as pipeline:
        stock = [
            stock_latents(pipeline, request, source)
            for request, source in zip(requests, sources, strict=True)
        ]
    assert (ours - torch.cat(stock)).abs().max() < 1e-4
    assert (ours[2] - ours[3]).abs().max() > 1e-2


def test_lambda_zero_is_a_model_without_an_adapter(generator: DiffusionGenerator, tmp_path: Path) -> None:
    one = latents_of(generator, [request_of(0, 0.0)], [source_of(0)])
    other = latents_of(generator, [request_of(0, 0.0, "another")], [source_of(9)])
    assert torch.equal(one, other)
    model, _ = save_tiny(tmp_path, xl="text_encoder_2" in pipeline_of(generator).components)
    stock = DiffusionPipeline.from_pretrained(model)
    assert (one - stock_latents(stock, request_of(0, 0.0), None)).abs().max() < 1e-4


def test_swapping_one_reference_changes_that_image_alone(generator: DiffusionGenerator) -> None:
    requests = [request_of(number, 0.8) for number in range(4)]
    sources = [source_of(number) for number in range(4)]
    before = latents_of(generator, requests, sources)
    swapped = [*requests[:2], request_of(2, 0.8, "swapped"), requests[3]]
    after = latents_of(generator, swapped, [*sources[:2], source_of(50), sources[3]])
    changed = (before - after).abs().amax(dim=(1, 2, 3))
    assert changed[2] > 1e-3
    assert changed[[0, 1, 3]].max() == 0


def test_a_batch_of_one_and_any_other_size_agree(generator: DiffusionGenerator) -> None:
    requests = [request_of(number, 0.2 * number) for number in range(5)]
    sources = [source_of(number) for number in range(5)]
    together = latents_of(generator, requests, sources)
    alone = [
        latents_of(generator, [request], [source])
        for request, source in zip(requests, sources, strict=True)
    ]
    assert (together - torch.cat(alone)).abs().max() < 1e-4


def test_install_and_remove_give_back_the_stock_model(generator: DiffusionGenerator) -> None:
    unet = pipeline_of(generator).unet
    before = stock_of(generator)
    unet.set_attn_processor(dict(before))  # which empties it
    assert dict(unet.attn_processors) == before
    assert install(unet) == before


def test_a_model_without_an_adapter_is_refused(generator: DiffusionGenerator, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    model, _ = save_tiny(tmp_path)
    with pytest.raises(ValueError, match="no image prompt adapter"):
        install(UNet2DConditionModel.from_pretrained(model / "unet"))


def test_the_scale_must_be_given(generator: DiffusionGenerator) -> None:
    conditioning: Any = generator.conditioner.encode([request_of(0, 0.5)], [source_of(0)])
    with pytest.raises(ValueError, match="ip_adapter_scale"):
        pipeline_of(generator).unet(
            torch.zeros(2, 4, 8, 8),
            1,
            conditioning.text,
            added_cond_kwargs={"image_embeds": [*conditioning.images], **conditioning.added},
        )


def test_an_adapter_for_faces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a face recogniser"):
        load(preset_of(tmp_path, "face"))


@pytest.mark.parametrize("xl", [False, True], ids=["sd", "xl"])
def test_scales_by_block_times_the_scale_of_each_image_equal_stock_diffusers(
    tmp_path: Path, xl: bool
) -> None:
    """InstantStyle: the first down block alone follows the image, here at 0.7 of the scale."""
    preset = preset_of(tmp_path, xl=xl)
    blocks = {"down": {"block_0": [0.7]}, "up": {"block_1": [0.0, 0.0]}}
    generator = load(replace(preset, adapter_blocks=blocks))
    requests = [request_of(number, scale) for number, scale in enumerate((0.0, 0.5, 1.0))]
    sources = [source_of(number) for number in range(3)]
    ours = latents_of(generator, requests, sources)
    with stock_model(generator) as pipeline:
        for number, request in enumerate(requests):
            scaled = {"down": {"block_0": [0.7 * request.ip_adapter_scale]}, "up": {"block_1": [0.0, 0.0]}}
            by_block = replace(request, ip_adapter_scale=scaled)  # type: ignore[arg-type]
            stock = stock_latents(pipeline, by_block, sources[number])
            assert (ours[number] - stock[0]).abs().max() < 1e-4
    plain = latents_of(load(preset), requests, sources)
    assert (ours[2] - plain[2]).abs().max() > 1e-3
    with pytest.raises(UserError, match="adapter_blocks cannot be used"):
        load(replace(preset, adapter_blocks={"down": {"block_9": [1.0]}}))
