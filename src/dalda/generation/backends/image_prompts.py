"""Several image prompts of one image under one scale: all their tokens, as in diffusers, or the mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def merged_image_prompts(model: Any, *, averaged: bool) -> Iterator[None]:
    """Within it a UNet's or FLUX' attention reads the mean of several image prompts' tokens, not all."""
    if not averaged:
        yield
        return
    hook = model.encoder_hid_proj.register_forward_hook(
        lambda module, images, tokens: [one.mean(1, keepdim=True) for one in tokens]
    )
    try:
        yield
    finally:
        hook.remove()
