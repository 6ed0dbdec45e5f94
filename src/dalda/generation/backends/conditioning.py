"""What the UNet is told of a batch: prompts, image prompts and their weights, each encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from torch import Tensor

from dalda.types import GenerationRequest

MEMORY = 256 * 2**20
"""Bytes of embeddings that are kept of prompts, and as many of sources."""


@dataclass
class Recent:
    """Tensors by key; those that were not asked for longest give way when there is no room."""

    limit: int = MEMORY
    kept: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    size: int = 0

    def get(self, key: str) -> tuple[Tensor, ...] | None:
        found = self.kept.pop(key, None)
        if found is not None:
            self.kept[key] = found
        return found

    def put(self, key: str, value: tuple[Tensor, ...]) -> None:
        self.kept[key] = value
        self.size += _bytes(value)
        while self.size > self.limit and len(self.kept) > 1:
            self.size -= _bytes(self.kept.pop(next(iter(self.kept))))


@dataclass(frozen=True)
class Conditioning:
    """For n images, 2n rows: first what steers away (negative prompts, no image), then what is asked."""

    text: Tensor
    """[2n, tokens, width]"""
    image: Tensor
    """[2n, 1, width], or [2n, 1, patches, width]"""
    scale: Tensor
    """lambda, [2n, 1, 1]"""
    added: dict[str, Tensor]
    """Stable Diffusion XL's pooled prompts and image sizes, each [2n, ...]."""

    def asked(self) -> "Conditioning":
        """The second half alone, for steps without guidance."""
        half = len(self.text) // 2
        added = {name: value[half:] for name, value in self.added.items()}
        return Conditioning(self.text[half:], self.image[half:], self.scale[half:], added)


@dataclass
class Conditioner:
    """A pipeline's encoders. Each thing is encoded alone, so that no batch can change its bits."""

    pipeline: Any
    size: int
    device: str
    texts: Recent = field(default_factory=Recent)
    images: Recent = field(default_factory=Recent)
    no_image: Tensor | None = None

    def conditions(
        self, requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> Conditioning:
        prompts = [request.negative_prompt for request in requests] + [
            request.prompt for request in requests
        ]
        texts = [self.text(prompt) for prompt in prompts]
        text = torch.cat([states for states, *_ in texts])
        image = torch.cat(
            [self.image(request, source) for request, source in zip(requests, sources, strict=True)]
        )
        image = torch.cat([self.without_image().expand_as(image), image])[:, None]
        scale = torch.tensor([request.ip_adapter_scale for request in requests], device=self.device)
        scale = scale.to(text.dtype).repeat(2)[:, None, None]
        added = {}
        if len(texts[0]) == 2:
            # Original size, corner of the crop, target size: a whole image of the model's own size.
            times = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]])
            added["text_embeds"] = torch.cat([pooled for _, pooled in texts])
            added["time_ids"] = times.to(self.device, text.dtype).repeat(len(text), 1)
        return Conditioning(text, image, scale, added)

    def text(self, prompt: str) -> tuple[Tensor, ...]:
        """[1, tokens, width], and for Stable Diffusion XL also the pooled [1, width]."""
        found = self.texts.get(prompt)
        if found is None:
            states, _, *pooled = self.pipeline.encode_prompt(
                prompt=prompt,
                device=self.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
            found = (states, *pooled[:1])
            self.texts.put(prompt, found)
        return found

    def image(self, request: GenerationRequest, source: Image.Image) -> Tensor:
        """What the adapter reads of a source; it is squeezed to a square first, as in the paper."""
        found = self.images.get(request.source_sha256)
        if found is None:
            square = source.resize((self.size, self.size), Image.Resampling.BILINEAR)
            pixels = self.pipeline.feature_extractor(square, return_tensors="pt")["pixel_values"]
            found = (self._features(pixels),)
            self.images.put(request.source_sha256, found)
        return found[0]

    def without_image(self) -> Tensor:
        """The half that steers away, as stock diffusers has it for each kind of adapter."""
        if self.no_image is None:
            side = self.pipeline.image_encoder.config.image_size
            features = self._features(torch.zeros(1, 3, side, side))
            self.no_image = features if self._reads_patches() else torch.zeros_like(features)
        return self.no_image

    def _features(self, pixels: Tensor) -> Tensor:
        """[1, width], or for adapters that read patches [1, patches, width] of the last layer but one."""
        encoder = self.pipeline.image_encoder
        pixels = pixels.to(self.device, encoder.dtype)
        if self._reads_patches():
            states: Tensor = encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
            return states
        embeds: Tensor = encoder(pixel_values=pixels).image_embeds
        return embeds

    def _reads_patches(self) -> bool:
        (projection,) = self.pipeline.unet.encoder_hid_proj.image_projection_layers
        return not isinstance(projection, ImageProjection)


def _bytes(tensors: tuple[Tensor, ...]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)
