from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.generation.stock import load

from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.errors import UserError
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.presets import PRESETS, preset_named
from dalda.types import GenerationRequest


@pytest.fixture(scope="module")
def generator() -> DiffusionGenerator:
    return load(preset_named("doodle"))


def requests_and_sources(count: int) -> tuple[list[GenerationRequest], list[Image.Image]]:
    rng = np.random.default_rng(0)
    sources = [Image.fromarray(draw_doodle(random_doodle(rng), rng)) for _ in range(count)]
    requests = [
        GenerationRequest(
            source=Path("drawn"),
            source_sha256=f"s{number}",
            label="car",
            index=0,
            method="dalda",
            generator="doodle",
            prompt="a photo of a red car on wet grass",
            negative_prompt="",
            ip_adapter_scale=number / count,
            source_clip_probability=None,
            guidance_scale=2.0,
            steps=4,
            seed=number,
        )
        for number in range(count)
    ]
    return requests, sources


def generated(
    generator: DiffusionGenerator, requests: list[GenerationRequest], sources: list[Image.Image]
) -> list[Image.Image]:
    images = generator.generate(requests, sources)
    return [one for one in images if one is not None]


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_the_same_batch_gives_the_same_bytes(generator: DiffusionGenerator) -> None:
    requests, sources = requests_and_sources(3)
    first, again = generated(generator, requests, sources), generated(generator, requests, sources)
    assert [one.tobytes() for one in first] == [one.tobytes() for one in again]


def test_another_batch_size_gives_the_same_images(generator: DiffusionGenerator) -> None:
    requests, sources = requests_and_sources(5)
    whole = generated(generator, requests, sources)
    parts = generated(generator, requests[:2], sources[:2]) + generated(
        generator, requests[2:], sources[2:]
    )
    assert min(psnr(one, other) for one, other in zip(whole, parts, strict=True)) >= 40


def test_another_seed_gives_another_image(generator: DiffusionGenerator) -> None:
    requests, sources = requests_and_sources(1)
    (one,) = generated(generator, requests, sources)
    (other,) = generated(generator, [replace(requests[0], seed=99)], sources)
    assert np.abs(np.asarray(one, int) - np.asarray(other, int)).mean() > 2


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (32, 32)), ((20, 10), (20, 10)), ((640, 320), (32, 16)), ((1, 900), (1, 32))],
)
def test_images_have_their_sources_shape_and_are_never_enlarged(
    generator: DiffusionGenerator, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    requests, _ = requests_and_sources(1)
    request = replace(requests[0], source_sha256=str(size))
    (image,) = generated(generator, [request], [Image.new("RGB", size, (9, 99, 199))])
    assert image.size == expected


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"cannot be loaded .*--model"):
        load(replace(PRESETS["doodle"], model=str(tmp_path / "empty")))
    with pytest.raises(UserError, match=r"cannot be loaded .*--adapter"):
        load(replace(PRESETS["doodle"], adapter=str(tmp_path / "empty")))
