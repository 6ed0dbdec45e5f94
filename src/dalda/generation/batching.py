"""How many images are generated together, and what to do if they do not fit into memory."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from PIL import Image

from dalda.device import free_memory, is_out_of_memory
from dalda.generation.backends.base import generate_from
from dalda.types import GenerationRequest

if TYPE_CHECKING:
    from dalda.generation.backends.diffusion import DiffusionGenerator

SMALL_SIDE = 64
"""Pixels a side: images up to this are generated in large batches everywhere."""
MAX_BATCH = 32
"""Images together; a GPU that is busy gains nothing from more."""
MEMORY_RESERVE = 0.2
"""Share of the free memory that stays free: for other programs and a fragmented heap."""


def automatic_batch_size(size: int, device: str) -> int:
    """Batch size without a look at the memory.

    Small images in large batches; large ones one by one on a CPU, which gains nothing from more of them.
    """
    if size <= SMALL_SIDE:
        return MAX_BATCH
    return 8 if device.startswith("cuda") else 1


def probed_batch_size(
    generator: "DiffusionGenerator", request: GenerationRequest, image: Image.Image
) -> int:
    """The same, on a GPU from its free memory and from what one image of two steps takes of it.

    1 if not even that one fits: generating may yet save memory, or says what to do.
    """
    device = generator.device
    if not device.startswith("cuda"):
        return automatic_batch_size(generator.image_size, device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    try:
        # Without `torch.compile`, which would compile once more for a batch of one.
        with torch.compiler.set_stance("force_eager"):
            sources = [image] * len(request.source_files)
            generate_from(generator, [replace(request, steps=2)], [sources])
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        free_memory()
        return 1
    per_image = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return fitting(free, per_image)


def fitting(free: int, per_image: int) -> int:
    """The largest power of two, from 1 to MAX_BATCH, of images that fit into `free` bytes."""
    count = int(free * (1 - MEMORY_RESERVE)) // max(per_image, 1)
    return max(1, min(MAX_BATCH, 1 << max(count, 1).bit_length() - 1))
