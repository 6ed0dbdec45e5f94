"""How many images are rendered together, and what to do when they do not fit into memory."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from PIL import Image

from dalda.device import free_memory, is_out_of_memory
from dalda.types import GenerationRequest

if TYPE_CHECKING:
    from dalda.generation.backends.stable_diffusion import Renderer

SMALL = 64
"""Pixels a side: images up to this are rendered in large batches everywhere."""
MOST = 32
"""Images together; a GPU that is busy gains nothing from more."""
SPARE = 0.2
"""The share of free memory that is left free: other programs, and a fragmented heap."""


def automatic_batch_size(size: int, device: str) -> int:
    """Images rendered together, before anything is known of the memory.

    Small ones in large batches; large ones singly on a CPU, which gains nothing from more of them.
    """
    if size <= SMALL:
        return MOST
    return 8 if device.startswith("cuda") else 1


def probed_batch_size(
    renderer: "Renderer", request: GenerationRequest, open_source: Callable[[], Image.Image]
) -> int:
    """The same, on a GPU from its free memory and from what one image of two steps takes of it.

    1 where not even that one fits: rendering may yet save memory, or says what to do.
    """
    if not renderer.device.startswith("cuda"):
        return automatic_batch_size(renderer.size, renderer.device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(renderer.device)
    before = torch.cuda.memory_allocated(renderer.device)
    try:
        # Not what `torch.compile` has made for whole batches: it would be made anew for a batch of one.
        with torch.compiler.set_stance("force_eager"):
            renderer.render([replace(request, steps=2)], [open_source()])
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        free_memory()
        return 1
    one = torch.cuda.max_memory_allocated(renderer.device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(renderer.device)
    return fitting(free, one)


def fitting(free: int, one: int) -> int:
    """The largest power of two of images, from 1 to MOST, that fit into `free` bytes at `one` each."""
    room = int(free * (1 - SPARE)) // max(one, 1)
    return max(1, min(MOST, 1 << max(room, 1).bit_length() - 1))
