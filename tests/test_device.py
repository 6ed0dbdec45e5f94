"""Devices by name."""

import pytest
import torch

from dalda import UserError
from dalda.device import device_named, dtype_named, is_out_of_memory, one_thread


def test_auto_is_there() -> None:
    assert device_named("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_named("cpu") == "cpu"


@pytest.mark.parametrize(
    ("name", "words"), [("gpu", "no device 'gpu'; write auto"), ("cuda:99", "not on this machine")]
)
def test_a_device_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        device_named(name)


def test_precision() -> None:
    assert [dtype_named("auto", "cuda:1"), dtype_named("auto", "cpu")] == ["fp16", "fp32"]
    assert dtype_named("bf16", "cpu") == "bf16"


@pytest.mark.parametrize(
    ("found", "noted"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_tile": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_tile": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_tile": True}, False),
    ],
)
def test_bf16_on_a_processor_that_does_not_compute_in_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: dict[str, object],
    noted: bool,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    for dtype, device in (("fp32", "cpu"), ("auto", "cpu"), ("bf16", "cuda"), ("bf16", "cpu")):
        dtype_named(dtype, device)
    assert capsys.readouterr().err.count("does not compute in bf16") == noted


def test_memory_that_ran_out_is_not_confused_with_other_errors() -> None:
    words = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
    assert is_out_of_memory(RuntimeError(words))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError(words))


def test_small_arithmetic_is_done_by_one_thread_and_the_rest_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread():
            inside = torch.get_num_threads()
        assert (inside, torch.get_num_threads()) == (1, 3)
    finally:
        torch.set_num_threads(before)
