"""Weights in eight bits: how near they are, that all families take them, and what is saved."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.generation.backends.test_families import TINY, saved
from tests.generation.stock import request_of, source_of

from dalda.generation.backends.base import GeneratorSpec, TunableGenerator
from dalda.generation.backends.eight_bit import EightBitLinear, round_to_eight_bits
from dalda.models.presets import Preset

JOBS, SOURCES = [request_of(n, 0.3 * n) for n in range(3)], [source_of(n) for n in range(3)]


@pytest.fixture(scope="module", params=TINY)
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return saved(tmp_path_factory.mktemp(request.param), request.param)


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 1000))
def test_a_weight_is_off_by_half_a_step_of_its_row_at_most(
    inputs: int, outputs: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = torch.nn.Linear(inputs, outputs, bias=bias)
    torch.nn.init.zeros_(layer.weight[0])
    rounded = EightBitLinear(layer)
    step = layer.weight.detach().abs().amax(1, keepdim=True) / 127
    assert ((rounded.weight - layer.weight).abs() <= 0.5001 * step + 1e-9).all()
    assert not rounded.weight[0].any()
    x = torch.randn(3, inputs)
    wanted = torch.nn.functional.linear(x, rounded.weight, layer.bias)
    assert torch.equal(rounded(x), wanted)
    assert {name for name, _ in rounded.named_parameters()} == ({"bias"} if bias else set())


def test_the_layers_of_all_parts_but_the_autoencoder_are_rounded() -> None:
    class Pipeline:
        def __init__(self) -> None:
            inner = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.LayerNorm(64))
            self.components = {
                "unet": torch.nn.Sequential(inner, torch.nn.Linear(64, 64)),
                "vae": torch.nn.Linear(8, 8),
                "scheduler": "none",
            }

    pipeline = Pipeline()
    before = weight_bytes(pipeline.components["unet"])
    round_to_eight_bits(pipeline)
    assert type(pipeline.components["vae"]) is torch.nn.Linear
    unet: Any = pipeline.components["unet"]
    assert [type(unet[0][0]), type(unet[1])] == [EightBitLinear, EightBitLinear]
    assert type(unet[0][1]) is torch.nn.LayerNorm
    assert weight_bytes(unet) < 0.35 * before


def weight_bytes(module: Any) -> int:
    return sum(
        tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers())
    )


@pytest.mark.slow
def test_each_family_makes_nearly_the_images_of_bf16(preset: Preset) -> None:
    exact = GeneratorSpec(preset, dtype="bf16").load()
    rounded = GeneratorSpec(preset, dtype="int8").load()
    assert isinstance(rounded, TunableGenerator)
    assert rounded.execution["dtype"] == "int8"
    wanted, found = (pixels(generator) for generator in (exact, rounded))
    off = np.abs(wanted.astype(int) - found)
    assert 0 < off.mean() < 12
    assert np.array_equal(found, pixels(GeneratorSpec(preset, dtype="int8").load()))


def pixels(generator: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.stack([np.asarray(image) for image in generator.generate(JOBS, SOURCES)])
