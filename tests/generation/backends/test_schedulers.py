"""Each scheduler, and guidance on a part of the steps, equals what stock diffusers makes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, EulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from tests.generation.stock import (
    latents_of,
    load,
    pipeline_of,
    preset_of,
    request_of,
    source_of,
    stock_latents,
    stock_model,
)

from dalda.errors import UserError
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.schedulers import guided_steps, scheduler_of
from dalda.models.presets import SAMPLERS, Preset, Sampler


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return preset_of(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def generator(preset: Preset) -> DiffusionGenerator:
    return load(preset)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "flow-euler"])
def test_a_batch_equals_images_made_alone_by_stock_diffusers(
    generator: DiffusionGenerator, preset: Preset, name: Sampler
) -> None:
    generator.scheduler = scheduler_of(replace(preset, scheduler=name, steps=4), generator.scheduler)
    requests = [replace(request_of(number, 0.3 * number), steps=4) for number in range(3)]
    sources = [source_of(number) for number in range(3)]
    ours = latents_of(generator, requests, sources)
    with stock_model(generator) as pipeline:
        alone = [
            stock_latents(pipeline, request, source)
            for request, source in zip(requests, sources, strict=True)
        ]
    stock = torch.cat(alone)
    # Of random weights some schedulers make latents in the hundreds.
    assert (ours - stock).abs().max() < 1e-4 * stock.std().clamp(min=1)


def rows_of(generator: DiffusionGenerator) -> list[int]:
    """The UNet's batch sizes from now on."""
    rows: list[int] = []
    pipeline_of(generator).unet.register_forward_pre_hook(
        lambda module, inputs: rows.append(len(inputs[0]))
    )
    return rows


def test_guidance_on_a_part_of_the_steps(preset: Preset) -> None:
    """Against the recipe of diffusers' documentation for switching guidance off half-way."""
    request = replace(request_of(0, 0.0), steps=6)
    generator = load(replace(preset, guidance_interval=(0.0, 0.5)))
    rows = rows_of(generator)
    ours = latents_of(generator, [request], [source_of(0)])
    assert rows == [2, 2, 2, 1, 1, 1]

    def switch_off(pipeline: Any, step: int, time: int, kept: dict[str, torch.Tensor]) -> dict[str, Any]:
        if step == 2:
            pipeline._guidance_scale = 0.0
            return {"prompt_embeds": kept["prompt_embeds"].chunk(2)[-1]}
        return {}

    stock = DiffusionPipeline.from_pretrained(preset.model)
    half = stock_latents(
        stock,
        request,
        None,
        callback_on_step_end=switch_off,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    )
    assert (ours - half).abs().max() < 1e-4
    assert (ours - stock_latents(stock, request, None)).abs().max() > 1e-3


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_scale_of_one_or_less_is_no_guidance_as_in_diffusers(
    generator: DiffusionGenerator, scale: float
) -> None:
    request = replace(request_of(0, 0.4), guidance_scale=scale)
    generator.scheduler = DDIMScheduler.from_config(generator.scheduler.config)
    rows = rows_of(generator)
    ours = latents_of(generator, [request], [source_of(0)])
    assert set(rows) == {1}
    with stock_model(generator) as pipeline:
        assert (ours - stock_latents(pipeline, request, source_of(0))).abs().max() < 1e-4


@given(low=st.floats(0, 0.99), length=st.floats(0.01, 1), steps=st.integers(1, 200))
def test_guided_steps_lie_in_the_interval(low: float, length: float, steps: int) -> None:
    high = min(1.0, low + length)
    guided = guided_steps((low, high), steps)
    assert 1 <= len(guided) <= steps
    assert abs(len(guided) - (high - low) * steps) <= 1
    assert guided.start >= 0
    assert guided.stop <= steps


def test_all_steps_are_guided_by_default() -> None:
    assert guided_steps((0.0, 1.0), 12) == range(12)
    assert guided_steps((0.2, 0.8), 30) == range(6, 24)


@pytest.mark.parametrize("schedule", [{"foo": 1}, {"beta_schedule": "linearr"}, {"beta_start": "abc"}])
def test_an_invalid_noise_schedule_is_refused_in_one_sentence(
    preset: Preset, schedule: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="noise_schedule cannot be used") as error:
        scheduler_of(replace(preset, noise_schedule=schedule), DDIMScheduler())
    assert "\n" not in str(error.value)


def test_nothing_is_cut_where_the_model_does_not_say_so(preset: Preset) -> None:
    """DDIM's own default is to cut at 1, as no latent model wants it."""
    euler = EulerDiscreteScheduler()
    assert scheduler_of(preset, euler).config.clip_sample is False
    assert scheduler_of(preset, DDIMScheduler(clip_sample=True)).config.clip_sample is True
    noise = replace(preset, noise_schedule={"beta_start": 0.001})
    assert scheduler_of(noise, euler).config.clip_sample is False


def test_a_step_count_beyond_a_schedulers_limits_is_refused_in_one_sentence(preset: Preset) -> None:
    with pytest.raises(UserError, match="lcm cannot take 100 steps"):
        scheduler_of(replace(preset, scheduler="lcm", steps=100), DDIMScheduler())
