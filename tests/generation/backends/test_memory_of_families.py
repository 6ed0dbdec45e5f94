"""Memory that runs out in each family: while loading, on the device, in a probe, a step, in decoding."""

from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from tests.generation.stock import request_of, source_of
from tests.generation.tiny_transformers import SAVERS, tiny_preset

from dalda.errors import UserError
from dalda.generation.backends import pipeline_parts
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.image_to_image import ImageToImageGenerator
from dalda.generation.batching import probed_batch_size
from dalda.models.presets import Preset

JOBS, SOURCES = [request_of(n, 0.5) for n in range(4)], [source_of(n) for n in range(4)]


@pytest.fixture(scope="module", params=SAVERS)
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return tiny_preset(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def generator(preset: Preset) -> Any:
    return GeneratorSpec(preset).load()


@pytest.fixture
def batched(generator: Any) -> DiffusionGenerator:
    """One whose loop is ours; stock pipelines make images one by one."""
    if isinstance(generator, ImageToImageGenerator):
        pytest.skip("it has neither a probe nor batches")
    assert isinstance(generator, DiffusionGenerator)
    return generator


def pipeline_of(generator: Any) -> Any:
    if isinstance(generator, ImageToImageGenerator):
        return generator.from_text
    return generator.conditioner.encoders.pipeline


def full(*arguments: object, **settings: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_while_loading(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*arguments: object, **settings: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(pipeline_parts, "load_module", short)
    with pytest.raises(UserError, match=r"does not fit into this machine's memory; .* --model") as error:
        GeneratorSpec(preset).load()
    assert "\n" not in str(error.value)


def test_on_the_device(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiffusionPipeline, "to", full)
    with pytest.raises(UserError, match="does not fit into the memory of 'cpu'; free some"):
        GeneratorSpec(preset).load()


def test_in_a_probe(batched: DiffusionGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"reset_peak_memory_stats": None, "memory_allocated": 0}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    pipeline = pipeline_of(batched)
    encoder = getattr(pipeline, "text_encoder_2", None) or pipeline.text_encoder
    encoder.register_forward_pre_hook(full)
    batched.device = "cuda"
    assert probed_batch_size(batched, JOBS[0], SOURCES[0]) == 1


def test_in_a_step_the_next_batch_is_as_ever(generator: Any) -> None:
    wanted = generator.generate(JOBS[:1], SOURCES[:1])
    hook = pipeline_of(generator).transformer.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        generator.generate(JOBS, SOURCES)
    hook.remove()
    assert generator.generate(JOBS[:1], SOURCES[:1]) == wanted


def test_in_decoding(batched: DiffusionGenerator, capsys: pytest.CaptureFixture[str]) -> None:
    """One by one first, then in tiles of half the width, which overlap."""
    whole = batched.generate(JOBS, SOURCES)
    room = [64]
    shapes: list[tuple[int, ...]] = []

    def short(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        shapes.append(tuple(inputs[0].shape))
        count, _, *sides = inputs[0].shape
        if count * sides[0] * sides[1] > room[0]:
            raise torch.OutOfMemoryError("full")

    pipeline_of(batched).vae.decoder.register_forward_pre_hook(short)
    assert batched.generate(JOBS, SOURCES) == whole
    assert [shape[0] for shape in shapes] == [4, 1, 1, 1, 1]
    assert "one by one" in capsys.readouterr().err
    room[0] = 16
    assert [image and image.size for image in batched.generate(JOBS, SOURCES)] == [(16, 16)] * 4
    assert batched.execution["tiled"]
    room[0] = 0
    with pytest.raises(torch.OutOfMemoryError):
        batched.generate(JOBS, SOURCES)
