"""The device that models run on, by name, and its memory."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dalda.errors import UserError
from dalda.progress import say


def device_named(device: str) -> str:
    """The device of a name; `auto` is a GPU when there is one. Raises UserError for a missing one."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UserError(f"there is no device '{device}'; write auto, cpu, cuda or mps")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(
            f"the device '{device}' is not on this machine; leave --device out to choose one"
        ) from None
    return device


def dtype_named(dtype: str, device: str, half: str = "fp16") -> str:
    """The precision of a name; `auto` is half precision on a GPU and single precision elsewhere."""
    if dtype in ("bf16", "int8") and device == "cpu" and not processor_computes_in_bf16():
        say("note: this processor does not compute in bf16, which is many times slower than --dtype fp32")
    if dtype != "auto":
        return dtype
    return half if device.startswith("cuda") else "fp32"


def processor_computes_in_bf16() -> bool:
    """Whether it has instructions for it: AVX512-BF16, AMX, or those of ARM."""
    import torch

    found = torch.cpu.get_capabilities()
    return any(there is True for name, there in found.items() if "bf16" in name or name == "amx_tile")


def memory_gigabytes() -> tuple[str, float | None]:
    """The name of the machine's device, and its memory; None where the system does not tell it."""
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return card.name, card.total_memory / 1e9
    try:
        return "cpu", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return "cpu", None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or (where torch says so in words only) on a CPU."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def free_memory() -> None:
    """Gives back what a failed attempt still holds."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def quiet_libraries(*, diffusers: bool = False) -> None:
    """Keeps loading bars and advice of transformers and diffusers off the terminal, but not errors."""
    from transformers.utils import logging as transformers_logging

    libraries: list[Any] = [transformers_logging]
    if diffusers:  # seconds to import, so only where a model of theirs is to be loaded
        from diffusers.utils import logging as diffusers_logging

        libraries.append(diffusers_logging)
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()


def use_one_thread() -> None:
    """Keeps the models of this process on one core, for good: others have the other cores."""
    import torch

    torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Arithmetic of numpy and torch on one core, for products so small that sharing them costs more.

    On cores that other programs use, each share waits its turn: a step of heads took thirty times as long.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
