"""Ways to compute the same images of Stable Diffusion on a GPU, one at a time, each undone afterwards."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from dalda.generation.backends.conditioning import RecentTensors
from dalda.generation.backends.diffusion import DiffusionGenerator

ATTENTION = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
"""Each is tried first and the others, and plain arithmetic, where it cannot (masks, wide heads)."""


@dataclass(frozen=True)
class Variant:
    """What differs from half precision in channels-last, which is measured before."""

    name: str
    seconds: int
    """Expected at most: to compile, to warm up and to measure."""
    used: Callable[[], AbstractContextManager[None]]
    dtype: str | None = None
    compiled: bool = False


def variants_of(generator: DiffusionGenerator, pipeline: Any, *, toy: bool) -> list[Variant]:
    """In the order of what is most wanted; a toy's are compiled without a compiler."""
    unet = pipeline.unet
    how: dict[str, Any] = {"dynamic": False, **({"backend": "eager"} if toy else {})}
    graphs = how if toy else {**how, "mode": "reduce-overhead"}

    def compiled(compile_unet: Callable[[], None]) -> Callable[[], AbstractContextManager[None]]:
        return lambda: _compiled(generator, unet, compile_unet)

    compiled_ways = {
        "compiled blocks": lambda: unet.compile_repeated_blocks(**how),
        "compiled whole": lambda: unet.compile(**how),
        "compiled whole, CUDA graphs": lambda: unet.compile(**graphs),
    }
    return [
        Variant("contiguous", 10, lambda: _contiguous(unet)),
        Variant("cudnn benchmark", 20, _tuned_convolutions),
        *(Variant(name, 100, compiled(way), compiled=True) for name, way in compiled_ways.items()),
        *(
            Variant(f"attention {name}", 15, lambda first=first: _attention(generator, first))  # type: ignore[misc]
            for name, first in ATTENTION.items()
        ),
        *([] if toy else [Variant("bf16", 15, lambda: _brain_float(generator, pipeline), "bf16")]),
    ]


def forget(generator: Any) -> None:
    """Empties the caches of embeddings."""
    generator.conditioner.texts, generator.conditioner.images = RecentTensors(), RecentTensors()
    generator.conditioner.no_image = None
    generator.latent_space.encoded = RecentTensors()


@contextmanager
def _contiguous(unet: Any) -> Iterator[None]:
    unet.to(memory_format=torch.contiguous_format)
    try:
        yield
    finally:
        unet.to(memory_format=torch.channels_last)


@contextmanager
def _tuned_convolutions() -> Iterator[None]:
    """cuDNN times its algorithms at every new shape, and takes the fastest."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _attention(generator: DiffusionGenerator, first: SDPBackend) -> Iterator[None]:
    """In the denoiser alone: heads of an autoencoder are too wide for most."""
    order = [first, *(other for other in ATTENTION.values() if other != first), SDPBackend.MATH]
    predict = generator.denoiser.predict

    def predicted(*arguments: Any) -> torch.Tensor:
        with sdpa_kernel(order, set_priority=True):
            return predict(*arguments)

    generator.denoiser.predict = predicted  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del generator.denoiser.predict


@contextmanager
def _brain_float(generator: DiffusionGenerator, pipeline: Any) -> Iterator[None]:
    before = pipeline.unet.dtype
    _convert(generator, pipeline, torch.bfloat16)
    try:
        yield
    finally:
        _convert(generator, pipeline, before)


def _convert(generator: DiffusionGenerator, pipeline: Any, dtype: torch.dtype) -> None:
    pipeline.to(dtype)
    pipeline.unet.to(memory_format=torch.channels_last)
    forget(generator)


@contextmanager
def _compiled(generator: DiffusionGenerator, unet: Any, compile_unet: Callable[[], None]) -> Iterator[None]:
    torch._dynamo.reset()
    compile_unet()
    generator.compiled = True
    try:
        yield
    finally:
        generator.compiled, generator.padded_to = False, 0
        for module in unet.modules():
            module._compiled_call_impl = None
