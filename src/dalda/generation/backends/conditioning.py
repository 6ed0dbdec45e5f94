"""What the UNet is conditioned on: prompts, image prompts and their scales, each encoded once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from torch import Tensor

from dalda.models.adaptation import ConceptReader, embed_prompts
from dalda.models.concepts import Concept
from dalda.types import GenerationRequest

CACHE_BYTES = 256 * 2**20
"""Of embeddings of prompts, and as many of source images."""


@dataclass
class RecentTensors:
    """Tensors by key; those not used for longest give way if there is no room."""

    limit: int = CACHE_BYTES
    tensors: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    size: int = 0

    def of(self, key: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The tensors under this key, made where there are none; the last ones stay, however large."""
        found = self.tensors.pop(key, None)
        if found is None:
            found = make()
            self.size += sum(tensor.nbytes for tensor in found)
        self.tensors[key] = found
        while self.size > self.limit and len(self.tensors) > 1:
            oldest = self.tensors.pop(next(iter(self.tensors)))
            self.size -= sum(tensor.nbytes for tensor in oldest)
        return found


@dataclass(frozen=True)
class UNetConditioning:
    """Of n images: n rows for each branch of the guidance, or n rows of one branch.

    Two branches: unconditional (negative prompts, no image), then conditional. Four, with a second image
    prompt: unconditional, prompt, prompt and image, prompt and both images.
    """

    text: Tensor
    """[rows, tokens, width]"""
    images: tuple[Tensor, ...]
    """For each adapter [rows, references, width], or [rows, references, patches, width]; several images of
    one reference lie beside each other."""
    scale: Tensor
    """IP-Adapter scale, [rows, references, 1]"""
    added: dict[str, Tensor]
    """Stable Diffusion XL's pooled prompts and image sizes, each [rows, ...]."""
    branches: int = 2
    loras: tuple[Concept, ...] = ()
    """Of each image, where there are any."""
    averaged: bool = False
    """Whether several image prompts are the mean of their tokens, in place of all of them."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the text embeddings, and so of the latents."""
        return self.text.dtype

    def select(self, count: int, guided: bool) -> "UNetConditioning":
        """Of the first images; guided is all branches, otherwise that of the prompt and the image alone."""
        total = len(self.text) // self.branches

        def rows(tensor: Tensor) -> Tensor:
            parts: list[Tensor] = [part[:count] for part in torch.split(tensor, total)]
            if not guided:
                return parts[min(2, self.branches - 1)]
            return tensor if count == total else torch.cat(parts)

        added = {name: rows(value) for name, value in self.added.items()}
        loras = self.loras[:count]
        return replace(
            self,
            text=rows(self.text),
            images=tuple(rows(image) for image in self.images),
            scale=rows(self.scale),
            added=added,
            loras=loras,
        )


@dataclass
class StableDiffusionConditioner:
    """A pipeline's encoders. Each item is encoded alone, so that no batch can change its bits."""

    pipeline: Any
    size: int
    device: str
    texts: RecentTensors = field(default_factory=RecentTensors)
    images: RecentTensors = field(default_factory=RecentTensors)
    no_image: tuple[Tensor, ...] | None = None
    concepts: ConceptReader | None = None
    """Learned concepts, for a model that has one text encoder."""

    def encode(
        self,
        requests: Sequence[GenerationRequest],
        images: Sequence[Image.Image],
        second_images: Sequence[Image.Image] = (),
        more_images: Sequence[Sequence[Image.Image]] = (),
    ) -> UNetConditioning:
        """Conditioning with 2n rows for n requests, 4n if they have second image prompts.

        `more_images` are further image prompts of each request, as many for all, under the same scale.
        """
        if second_images and more_images:
            raise ValueError("a request has either a second image prompt or several that are merged")
        branches = 4 if second_images else 2
        prompts = [(request.negative_prompt, request.concept) for request in requests]
        prompts += [(request.prompt, request.concept) for request in requests] * (branches - 1)
        texts = [self.text(*prompt) for prompt in prompts]
        text = torch.cat([states for states, *_ in texts])
        groups = [
            [source, *others]
            for source, others in zip(images, more_images or [()] * len(images), strict=True)
        ]
        rows = [self._rows(adapter, requests, groups, second_images) for adapter in range(self.adapters)]
        scales = torch.tensor([request.ip_adapter_scale for request in requests], device=self.device)
        scale = scales.to(text.dtype)
        if second_images:
            none = torch.zeros_like(scale)
            scale = torch.stack([torch.cat([none, none, scale, scale]), torch.cat([none] * 3 + [scale])], 1)
            scale = scale[..., None]
        else:
            scale = scale.repeat(2)[:, None, None]
        added = {}
        if len(texts[0]) == 2:
            # Original size, corner of the crop, target size: a whole image of the model's own size.
            times = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]])
            added["text_embeds"] = torch.cat([pooled for _, pooled in texts])
            added["time_ids"] = times.to(self.device, text.dtype).repeat(len(text), 1)
        learned = [Concept.read(request.concept) if request.concept else Concept() for request in requests]
        loras = tuple(learned) if any(concept.loras for concept in learned) else ()
        (merging,) = {request.image_prompt_merging for request in requests}
        return UNetConditioning(text, tuple(rows), scale, added, branches, loras, merging == "mean")

    def _rows(
        self,
        adapter: int,
        requests: Sequence[GenerationRequest],
        groups: Sequence[Sequence[Image.Image]],
        second_images: Sequence[Image.Image],
    ) -> Tensor:
        """An adapter's embeddings of each request's image prompts, for all branches of the guidance."""
        image = torch.cat(
            [self.image(request, group, adapter) for request, group in zip(requests, groups, strict=True)]
        )
        without = self.without_image(adapter)[:, None].expand_as(image)
        if not second_images:
            return torch.cat([without, image])
        second = torch.cat(
            [
                self.encoded(request.second_source_sha256, source, adapter)[:, None]
                for request, source in zip(requests, second_images, strict=True)
            ]
        )
        first = torch.cat([without, without, image, image])
        return torch.cat([first, torch.cat([without, without, second, second])], 1)

    def text(self, prompt: str, concept: str | None = None) -> tuple[Tensor, ...]:
        """[1, tokens, width], and for Stable Diffusion XL also the pooled [1, width]."""
        if concept:
            return self.texts.of(
                f"{concept}\n{prompt}", lambda: (self._learned(prompt, Concept.read(concept)),)
            )
        return self.texts.of(prompt, lambda: self._plain(prompt))

    def _plain(self, prompt: str) -> tuple[Tensor, ...]:
        states, _, *pooled = self.pipeline.encode_prompt(
            prompt=prompt, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return (states, *pooled[:1])

    def _learned(self, prompt: str, concept: Concept) -> Tensor:
        """States of a prompt with its learned token, by the text encoder with its LoRAs."""
        reader = self.concepts
        if reader is None:
            raise ValueError("this model takes no learned concepts")
        with reader.layers.applied(reader.loras(concept)):
            tokens = [reader.token(concept)]
            return embed_prompts(self.pipeline.tokenizer, self.pipeline.text_encoder, [prompt], tokens)

    def image(self, request: GenerationRequest, images: Sequence[Image.Image], adapter: int = 0) -> Tensor:
        """Embeddings [1, images, ...] of image prompts; at a scale of 0 they have no effect."""
        if request.ip_adapter_scale == 0:
            return torch.stack([self.without_image(adapter)] * len(images), 1)
        keys = (request.source_sha256, *request.more_source_sha256s)
        return torch.stack([self.encoded(*item, adapter) for item in zip(keys, images, strict=True)], 1)

    def encoded(self, key: str, source: Image.Image, adapter: int = 0) -> Tensor:
        """An adapter's embedding of an image, which is squeezed to a square first, as in the paper."""

        def features() -> tuple[Tensor, ...]:
            square = source.resize((self.size, self.size), Image.Resampling.BILINEAR)
            return self._features(
                self.pipeline.feature_extractor(square, return_tensors="pt")["pixel_values"]
            )

        return self.images.of(key, features)[adapter]

    def without_image(self, adapter: int = 0) -> Tensor:
        """The unconditional embedding, as stock diffusers has it for each kind of adapter."""
        if self.no_image is None:
            side = self.pipeline.image_encoder.config.image_size
            features = self._features(torch.zeros(1, 3, side, side))
            self.no_image = tuple(
                one if patches else torch.zeros_like(one)
                for one, patches in zip(features, self._reads_patches(), strict=True)
            )
        return self.no_image[adapter]

    def _features(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """For each adapter [1, width], or [1, patches, width] of the last layer but one."""
        encoder = self.pipeline.image_encoder
        pixels = pixels.to(self.device, encoder.dtype)
        kinds = self._reads_patches()
        found: dict[bool, Tensor] = {}
        if True in kinds:
            found[True] = encoder(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        if False in kinds:
            found[False] = encoder(pixel_values=pixels).image_embeds
        return tuple(found[kind] for kind in kinds)

    @property
    def adapters(self) -> int:
        """How many IP-Adapters the model has."""
        return len(self._reads_patches())

    def _reads_patches(self) -> list[bool]:
        """Of each adapter, whether it reads an image's patches."""
        projections = self.pipeline.unet.encoder_hid_proj.image_projection_layers
        return [not isinstance(projection, ImageProjection) for projection in projections]
