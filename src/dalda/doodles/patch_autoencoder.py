"""The autoencoder of small models: a fixed, lossless, linear transform of square patches."""

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pixel-unshuffle, then principal components; has the interface of diffusers' autoencoders.

    Images are [batch, 3, height, width] in [-1, 1]; latents are
    [batch, latent_channels, height / patch, width / patch].
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch: int = 2,
        latent_channels: int = 12,
        block_out_channels: tuple[int, ...] = (1, 1),
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        size = 3 * patch * patch
        self.register_buffer("basis", torch.zeros(size, latent_channels))
        self.register_buffer("mean", torch.zeros(size))

    def encode(self, images: Tensor) -> AutoencoderTinyOutput:
        patches = F.pixel_unshuffle(images, self.config.patch).permute(0, 2, 3, 1)
        return AutoencoderTinyOutput(((patches - self.mean) @ self.basis).permute(0, 3, 1, 2))

    def decode(
        self, latents: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        patches = latents.permute(0, 2, 3, 1) @ self.basis.T + self.mean
        images = F.pixel_shuffle(patches.permute(0, 3, 1, 2), self.config.patch)
        return DecoderOutput(images) if return_dict else (images,)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Sets basis, mean and scaling factor (1 / standard deviation of the latents)."""
        patches = F.pixel_unshuffle(images, self.config.patch).permute(0, 2, 3, 1)
        patches = patches.reshape(-1, self.mean.numel())
        self.mean.copy_(patches.mean(dim=0))
        centred = patches - self.mean
        components = torch.linalg.svd(centred.T @ centred / len(centred))[0]
        self.basis.copy_(components[:, : self.basis.shape[1]])
        self.register_to_config(scaling_factor=float(1 / (centred @ self.basis).std()))
