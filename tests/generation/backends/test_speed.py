"""What makes rendering faster or smaller changes no image but by rounding."""

from typing import Any

import pytest
import torch
from tests.generation.stock import latents_of, load, pipeline_of, preset_of, request_of, source_of
from torch._dynamo.testing import CompileCounter

from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.presets import Preset

JOBS = [request_of(number, 0.2 * number) for number in range(5)]
SOURCES = [source_of(number) for number in range(5)]


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return preset_of(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def plain(preset: Preset) -> torch.Tensor:
    return latents_of(load(preset), JOBS, SOURCES)


def test_channels_last(preset: Preset, plain: torch.Tensor) -> None:
    generator = load(preset, channels_last=True)
    assert pipeline_of(generator).unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert (latents_of(generator, JOBS, SOURCES) - plain).abs().max() < 1e-4
    assert generator.execution["channels_last"]


def test_half_precision(preset: Preset, plain: torch.Tensor) -> None:
    generator = load(preset, dtype="bf16")
    made = latents_of(generator, JOBS, SOURCES)
    assert made.dtype == torch.bfloat16
    assert (made.float() - plain).abs().mean() < 0.05 * plain.std()
    assert generator.execution["dtype"] == "bf16"


def compiled(preset: Preset) -> tuple[DiffusionGenerator, CompileCounter]:
    """Compiled in the same regions and shapes, by a compiler that only counts."""
    torch._dynamo.reset()
    generator, counter = load(preset), CompileCounter()
    pipeline_of(generator).unet.compile_repeated_blocks(dynamic=False, backend=counter)
    generator.compiled = True
    return generator, counter


def test_one_compiled_graph_serves_all_lambdas_and_batches(preset: Preset, plain: torch.Tensor) -> None:
    generator, counter = compiled(preset)
    first = latents_of(generator, JOBS[:3], SOURCES[:3])
    graphs = counter.frame_count
    assert graphs > 0
    others = [request_of(number, 0.95) for number in range(3)]
    latents_of(generator, others, SOURCES[:3])
    last = latents_of(generator, JOBS[3:], SOURCES[3:])
    assert counter.frame_count == graphs
    assert (torch.cat([first, last]) - plain).abs().max() < 1e-4


def test_the_last_batch_is_filled_up_until_memory_runs_out(preset: Preset) -> None:
    generator, _ = compiled(preset)
    rows: list[int] = []
    unet = pipeline_of(generator).unet
    unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    assert len(generator.generate(JOBS[:4], SOURCES[:4])) == 4
    assert len(generator.generate(JOBS[:1], SOURCES[:1])) == 1
    assert set(rows) == {8}

    def full(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > 4:
            raise torch.OutOfMemoryError("full")

    unet.register_forward_pre_hook(full)
    with pytest.raises(torch.OutOfMemoryError):
        generator.generate(JOBS[:4], SOURCES[:4])
    assert len(generator.generate(JOBS[:2], SOURCES[:2])) == 2


@pytest.mark.slow
def test_compiled_for_real(preset: Preset, plain: torch.Tensor) -> None:
    torch._dynamo.reset()
    generator = load(preset, compile=True)
    assert (latents_of(generator, JOBS, SOURCES) - plain).abs().max() < 1e-4
    assert generator.execution["compile"]


def with_room_for(generator: DiffusionGenerator, latents: int) -> list[tuple[int, ...]]:
    """The decoder runs out of memory above so many latent pixels; the shapes that it was given."""
    shapes: list[tuple[int, ...]] = []

    def full(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        shapes.append(tuple(inputs[0].shape))
        count, _, *sides = inputs[0].shape
        if count * sides[0] * sides[1] > latents:
            raise torch.OutOfMemoryError("full")

    pipeline_of(generator).vae.decoder.register_forward_pre_hook(full)
    return shapes


def test_where_memory_is_short_images_are_decoded_one_by_one(
    preset: Preset, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = load(preset)
    whole = generator.generate(JOBS, SOURCES)
    shapes = with_room_for(generator, 8 * 8)
    for _ in range(2):
        assert generator.generate(JOBS, SOURCES) == whole
    assert shapes == [(5, 4, 8, 8)] + 10 * [(1, 4, 8, 8)]
    assert capsys.readouterr().err.count("one by one") == 1
    assert not generator.execution["tiled"]


def test_where_one_image_is_too_much_it_is_decoded_in_tiles(
    preset: Preset, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the model's own size, at which diffusers' tiles are no smaller than the image."""
    generator = load(preset)
    whole = generator.generate(JOBS, SOURCES)
    shapes = with_room_for(generator, 4 * 4)
    tiled = generator.generate(JOBS, SOURCES)
    assert shapes[:2] == [(5, 4, 8, 8), (1, 4, 8, 8)]
    assert max(shapes[2:]) == (1, 4, 4, 4)
    assert len(shapes[2:]) == len(JOBS) * 9
    assert [one and one.size for one in tiled] == [one and one.size for one in whole]
    assert generator.execution["tiled"]
    assert generator.generate(JOBS, SOURCES) == tiled
    assert capsys.readouterr().err.count("in tiles") == 1


def test_memory_that_no_saving_helps_is_the_engines_matter(preset: Preset) -> None:
    generator = load(preset)

    def full(latents: torch.Tensor, **settings: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    pipeline_of(generator).vae.decode = full
    with pytest.raises(torch.OutOfMemoryError):
        generator.generate(JOBS, SOURCES)


def test_a_image_without_numbers_is_none(preset: Preset) -> None:
    generator = load(preset)
    decode = pipeline_of(generator).vae.decode

    def spoilt(latents: torch.Tensor, **settings: Any) -> Any:
        (shown,) = decode(latents, **settings)
        shown[1, :, 3, 4] = float("nan")
        return (shown,)

    pipeline_of(generator).vae.decode = spoilt
    images = generator.generate(JOBS, SOURCES)
    assert [one is None for one in images] == [False, True, False, False, False]


def test_the_execution_is_recorded(preset: Preset) -> None:
    assert load(preset).execution == {
        "device": "cpu",
        "dtype": "fp32",
        "channels_last": False,
        "compile": False,
        "tiled": False,
    }
