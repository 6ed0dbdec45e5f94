"""Nothing is encoded twice, in bounded memory."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.generation.stock import load, pipeline_of, preset_of, request_of, source_of

from dalda.generation.backends.conditioning import RecentTensors, StableDiffusionConditioner
from dalda.generation.backends.diffusion import DiffusionGenerator


@pytest.fixture(params=[False, True], ids=["sd", "xl"])
def generator(request: pytest.FixtureRequest, tmp_path: Path) -> DiffusionGenerator:
    return load(preset_of(tmp_path, "full", xl=request.param))


def counted(generator: DiffusionGenerator) -> Counter[str]:
    """How often each encoder is asked, and for how many rows, from now on."""
    calls: Counter[str] = Counter()
    for name in ("text_encoder", "text_encoder_2", "image_encoder"):
        part = pipeline_of(generator).components.get(name)
        if part is not None:
            part.register_forward_hook(lambda module, inputs, output, name=name: calls.update([name]))
    return calls


def test_each_prompt_and_each_source_is_encoded_once(generator: DiffusionGenerator) -> None:
    calls = counted(generator)
    requests = [request_of(number, 0.5, source=f"s{number % 2}") for number in range(6)]
    assert len({request.prompt for request in requests}) == 3
    for _ in range(2):
        for start in (0, 3):
            generator.generate(requests[start : start + 3], [source_of(0), source_of(1), source_of(0)])
    # Three prompts and one negative prompt; two sources and the image of nothing.
    assert calls.pop("text_encoder") == 4
    assert calls.pop("image_encoder") == 3
    assert calls.pop("text_encoder_2", 4) == 4


def test_what_is_forgotten_is_encoded_again_to_the_same_bits(generator: DiffusionGenerator) -> None:
    requests = [request_of(number, 0.5) for number in range(3)]
    sources = [source_of(number) for number in range(3)]
    whole: Any = generator.conditioner.encode(requests, sources)
    calls = counted(generator)
    narrow = StableDiffusionConditioner(
        pipeline_of(generator), generator.image_size, "cpu", texts=RecentTensors(1), images=RecentTensors(1)
    )
    again = narrow.encode(requests, sources)
    assert torch.equal(whole.text, again.text)
    assert torch.equal(whole.images[0], again.images[0])
    assert len(narrow.texts.tensors) == len(narrow.images.tensors) == 1
    assert calls["image_encoder"] == 4


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    kept = RecentTensors(limit=4 * 10 * 4)
    for number in range(100):
        kept.of(str(number), lambda: (torch.zeros(10),))
        kept.of("0", lambda: pytest.fail("it is still there"))
        assert kept.size == 40 * len(kept.tensors) <= 160
    assert set(kept.tensors) == {"0", "97", "98", "99"}
