from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalda.doodles.draw import draw, random_doodle
from dalda.errors import UserError
from dalda.generation.backends.stable_diffusion import Renderer, load_renderer
from dalda.models.presets import PRESETS, preset_named
from dalda.types import GenerationRequest


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return load_renderer(preset_named("doodle"))


def requests_and_sources(count: int) -> tuple[list[GenerationRequest], list[Image.Image]]:
    rng = np.random.default_rng(0)
    sources = [Image.fromarray(draw(random_doodle(rng), rng)) for _ in range(count)]
    requests = [
        GenerationRequest(
            source=Path("drawn"),
            source_sha256=f"s{number}",
            label="car",
            repeat=0,
            method="dalda",
            model="doodle",
            prompt="a photo of a red car on wet grass",
            negative_prompt="",
            ip_adapter_scale=number / count,
            ip_adapter_scale_mean=None,
            source_clip_probability=None,
            guidance_scale=2.0,
            strength=None,
            steps=4,
            seed=number,
        )
        for number in range(count)
    ]
    return requests, sources


def generated(
    renderer: Renderer, requests: list[GenerationRequest], sources: list[Image.Image]
) -> list[Image.Image]:
    images = renderer.render(requests, sources)
    return [one for one in images if one is not None]


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_the_same_batch_gives_the_same_bytes(renderer: Renderer) -> None:
    requests, sources = requests_and_sources(3)
    first, again = generated(renderer, requests, sources), generated(renderer, requests, sources)
    assert [one.tobytes() for one in first] == [one.tobytes() for one in again]


def test_another_batch_size_gives_the_same_images(renderer: Renderer) -> None:
    requests, sources = requests_and_sources(5)
    whole = generated(renderer, requests, sources)
    parts = generated(renderer, requests[:2], sources[:2]) + generated(renderer, requests[2:], sources[2:])
    assert min(psnr(one, other) for one, other in zip(whole, parts, strict=True)) >= 40


def test_another_seed_gives_another_image(renderer: Renderer) -> None:
    requests, sources = requests_and_sources(1)
    (one,) = generated(renderer, requests, sources)
    (other,) = generated(renderer, [replace(requests[0], seed=99)], sources)
    assert np.abs(np.asarray(one, int) - np.asarray(other, int)).mean() > 2


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (32, 32)), ((20, 10), (20, 10)), ((640, 320), (32, 16)), ((1, 900), (1, 32))],
)
def test_images_have_their_sources_shape_and_are_never_enlarged(
    renderer: Renderer, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    requests, _ = requests_and_sources(1)
    request = replace(requests[0], source_sha256=str(size))
    (image,) = generated(renderer, [request], [Image.new("RGB", size, (9, 99, 199))])
    assert image.size == expected


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"cannot be loaded .*--model"):
        load_renderer(replace(PRESETS["doodle"], model=str(tmp_path / "empty")))
    with pytest.raises(UserError, match=r"cannot be loaded .*--adapter"):
        load_renderer(replace(PRESETS["doodle"], adapter=str(tmp_path / "empty")))
