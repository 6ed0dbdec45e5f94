from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.generation.stock import request_of, source_of

from dalda.device import is_out_of_memory
from dalda.generation.batching import (
    MAX_BATCH,
    MEMORY_RESERVE,
    automatic_batch_size,
    fitting,
    probed_batch_size,
)

GIGABYTE = 2**30


@pytest.mark.parametrize(
    ("free", "one", "size"),
    [(24, 2, 8), (141, 2, 32), (2, 2, 1), (0, 2, 1), (10, 1, 8), (1000, 0, 32)],
)
def test_as_many_as_fit(free: int, one: int, size: int) -> None:
    assert fitting(free * GIGABYTE, one * GIGABYTE) == size


@given(st.integers(0, 2**38), st.integers(1, 2**34))
def test_a_batch_always_fits_or_is_one(free: int, one: int) -> None:
    size = fitting(free, one)
    assert 1 <= size <= MAX_BATCH
    assert size & (size - 1) == 0
    assert size == 1 or size * one <= free * (1 - MEMORY_RESERVE)


def test_small_images_go_together_and_large_ones_alone_on_a_cpu() -> None:
    assert automatic_batch_size(32, "cpu") == 32
    assert automatic_batch_size(512, "cpu") == 1
    assert automatic_batch_size(512, "cuda:1") > 1


def test_a_probe_that_runs_out_of_memory_says_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU of which other programs leave nothing; any other error comes through."""
    for name, value in {"reset_peak_memory_stats": None, "memory_allocated": 0}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)

    def full(requests: object, sources: object) -> None:
        raise error

    renderer: Any = SimpleNamespace(device="cuda", image_size=512, generate=full)
    error: Exception = torch.OutOfMemoryError("CUDA out of memory")
    assert probed_batch_size(renderer, request_of(0, 0.5), source_of(0)) == 1
    error = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes"):
        probed_batch_size(renderer, request_of(0, 0.5), source_of(0))


def test_running_out_of_memory_is_distinguished_from_other_errors() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
