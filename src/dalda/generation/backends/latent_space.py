"""Autoencoders: images to latents and back, in as little memory as is needed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor

from dalda.device import is_out_of_memory
from dalda.generation.backends.conditioning import RecentTensors
from dalda.progress import say

DECODED_PIXELS = 4 * 512 * 512
"""Pixels that are decoded at a time: the decoder's memory, not the UNet's, would set the batch size."""


@dataclass
class AutoencoderLatentSpace:
    """Latents of diffusers' autoencoders, scaled as the denoiser takes them."""

    vae: Any
    image_size: int
    channels: int
    factor: int
    """Pixels a side of each latent."""
    device: str
    """Where it computes; the autoencoder itself may wait elsewhere."""
    encoded: RecentTensors = field(default_factory=RecentTensors)
    decoded_together: int = field(init=False)

    def __post_init__(self) -> None:
        self.decoded_together = max(1, DECODED_PIXELS // self.image_size**2)

    @property
    def shape(self) -> tuple[int, int, int]:
        """[channels, side, side] of one image."""
        side = self.image_size // self.factor
        return self.channels, side, side

    @property
    def is_tiled(self) -> bool:
        """Whether images are decoded in tiles, for want of memory."""
        return bool(getattr(self.vae, "use_tiling", False))

    def encode(self, key: str, image: Image.Image, noise: torch.Generator) -> Tensor:
        """Latents [1, channels, side, side] of an image, squeezed to a square and drawn as in diffusers."""

        def encoded() -> tuple[Tensor]:
            posterior = self.posterior(image)
            is_random = hasattr(posterior, "latent_dist")
            return (posterior.latent_dist.parameters if is_random else posterior.latents,)

        (latents,) = self.encoded.of(key, encoded)
        if latents.shape[1] == 2 * self.channels:  # mean and variance
            latents = DiagonalGaussianDistribution(latents).sample(noise)
        return self._scaled(latents)

    def posterior(self, image: Image.Image) -> Any:
        """What the autoencoder makes of an image, squeezed to a square."""
        square = image.resize((self.image_size, self.image_size), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 127.5 - 1
        return self.vae.encode(pixels.to(self.device, self.vae.dtype))

    def decode(self, latents: Tensor) -> list[Image.Image | None]:
        """Decodes as many at a time as memory allows, and if one is too much, in tiles."""
        images: list[Image.Image | None] = []
        try:
            for start in range(0, len(latents), self.decoded_together):
                images += self._decoded(latents[start : start + self.decoded_together])
        except Exception as error:
            if not is_out_of_memory(error) or not self._decode_less():
                raise
            return self.decode(latents)
        return images

    def _decoded(self, latents: Tensor) -> list[Image.Image | None]:
        decoded = self.vae.decode(self._unscaled(latents).to(self.vae.dtype), return_dict=False)[0]
        finite = decoded.isfinite().all(dim=3).all(dim=2).all(dim=1).tolist()
        decoded = ((decoded.float().nan_to_num(0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        arrays = decoded.permute(0, 2, 3, 1).cpu().numpy()
        return [
            Image.fromarray(array) if valid else None for array, valid in zip(arrays, finite, strict=True)
        ]

    def _scaled(self, latents: Tensor) -> Tensor:
        """The autoencoder's latents as the denoiser takes them."""
        mean, deviation = self._statistics(latents)
        scaled: Tensor = (latents - mean) * self.vae.config.scaling_factor / deviation
        return scaled

    def _unscaled(self, latents: Tensor) -> Tensor:
        """The denoiser's latents as the autoencoder takes them."""
        mean, deviation = self._statistics(latents)
        unscaled: Tensor = latents / self.vae.config.scaling_factor * deviation + mean
        return unscaled

    def _statistics(self, latents: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Mean and deviation of each channel, which some autoencoders name."""
        values = self.vae.config.get("latents_mean"), self.vae.config.get("latents_std")
        if None in values:
            return self.vae.config.get("shift_factor") or 0.0, 1.0
        mean, deviation = (torch.tensor(value).to(latents)[None, :, None, None] for value in values)
        return mean, deviation

    def _decode_less(self) -> bool:
        """Saves memory from now on; False if nothing is left to save."""
        if self.decoded_together > 1:
            self.decoded_together = 1
            say("note: memory is short, images are decoded one by one")
        elif hasattr(self.vae, "enable_tiling") and not self.vae.use_tiling:
            self.vae.enable_tiling()
            # Diffusers' own tiles are as large as the images that the model is made for. A quarter of
            # a tile overlaps the next one, and must be whole.
            self.vae.tile_latent_min_size = max(4, self.image_size // self.factor // 2 // 4 * 4)
            self.vae.tile_sample_min_size = self.vae.tile_latent_min_size * self.factor
            say("note: memory is short, images are decoded in tiles")
        else:
            return False
        return True
