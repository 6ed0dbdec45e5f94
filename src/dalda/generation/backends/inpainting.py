"""Masks in latent space: a part of an image is regenerated, the rest follows its source image.

As diffusers inpaints with a UNet of four channels (Lugmayr et al., RePaint, arXiv 2201.09865, without its
resampling): after each step the latents outside of the mask become the source's, with their own noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from dalda.generation.backends.schedulers import with_noise


def latent_mask(mask: Image.Image, latents: Tensor) -> Tensor:
    """[1, 1, side, side] of the latents' side, type and device: 1 where white, 0 where black."""
    white = torch.from_numpy(np.asarray(mask.convert("L")) >= 128)[None, None]
    return interpolate(white.float(), size=latents.shape[-2:]).to(latents)


@dataclass(frozen=True)
class KeptRegions:
    """What the masked rows of a batch keep of their source images."""

    rows: Tensor
    """Which rows of the batch, [masked]."""
    sources: Tensor
    """Latents of their source images, [masked, channels, side, side]."""
    noise: Tensor
    masks: Tensor
    """[masked, 1, side, side]; 1 where the image is regenerated."""

    @classmethod
    def of(cls, items: Sequence[tuple[int, Tensor, Tensor, Tensor]]) -> "KeptRegions | None":
        """Of (row, source, noise, mask) each; None where no row has a mask."""
        if not items:
            return None
        rows, sources, noise, masks = zip(*items, strict=True)
        return cls(
            torch.tensor(rows, device=sources[0].device),
            torch.cat(sources),
            torch.cat(noise),
            torch.cat(masks),
        )

    def restored(self, scheduler: Any, latents: Tensor, following: Tensor) -> Tensor:
        """The latents of a step with the kept regions as the `following` timestep expects them.

        That is [1], or empty after the last step: then they are the source's own.
        """
        kept = (
            with_noise(scheduler, self.sources, self.noise, following) if len(following) else self.sources
        )
        blended = (1 - self.masks) * kept + self.masks * latents[self.rows]
        return latents.index_copy(0, self.rows, blended.to(latents))
