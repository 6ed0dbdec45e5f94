"""Conditioning of a transformer: named tensors with a row for each prediction, and a scale per row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from dalda.generation.backends.conditioning import RecentTensors
from dalda.types import GenerationRequest


@dataclass(frozen=True)
class RowConditioning:
    """Of n images: 2n rows, unconditional (negative prompts), then conditional; or n rows."""

    tensors: Mapping[str, Tensor]
    """Each [rows, ...]."""
    dtype: torch.dtype
    averaged: bool = False
    """Whether several image prompts are the mean of their tokens, in place of all of them."""

    def select(self, count: int, guided: bool) -> "RowConditioning":
        """Of the first images; guided is both halves, otherwise the conditional one alone."""
        tensors = {}
        for name, tensor in self.tensors.items():
            total = len(tensor) // 2
            conditional = tensor[total : total + count]
            tensors[name] = torch.cat([tensor[:count], conditional]) if guided else conditional
        return RowConditioning(tensors, self.dtype, self.averaged)


@dataclass(frozen=True)
class RowScale:
    """A scale per row, in place of the number that attention processors multiply by.

    They skip the image prompt at a scale of 0 by comparing with it, which a tensor refuses.
    """

    values: Tensor
    """[rows, 1, 1]"""

    def __ne__(self, other: object) -> bool:
        return True

    def __mul__(self, states: Tensor) -> Tensor:
        return self.values * states

    __rmul__ = __mul__


class Encoders(Protocol):
    """What a family's pipeline encodes; each call gives tensors of one row, [1, ...]."""

    def text(self, prompt: str) -> dict[str, Tensor]:
        """Embeddings of a prompt, by the names of `RowConditioning.tensors`."""

    def image(self, image: Image.Image) -> Tensor:
        """Features of an image prompt."""

    def no_image(self) -> Tensor:
        """What the unconditional rows have in place of an image prompt."""


@dataclass
class RowConditioner:
    """A conditioner over a family's encoders; each item is encoded alone: no batch changes its bits."""

    encoders: Encoders
    device: str
    dtype: torch.dtype
    size: int
    has_adapter: bool
    image_in_all_rows: bool = False
    """Whether the unconditional rows have the image prompt too."""
    texts: RecentTensors = field(default_factory=RecentTensors)
    images: RecentTensors = field(default_factory=RecentTensors)
    text_names: tuple[str, ...] = ()

    def encode(
        self,
        requests: Sequence[GenerationRequest],
        images: Sequence[Image.Image],
        more_images: Sequence[Sequence[Image.Image]] = (),
    ) -> RowConditioning:
        """Conditioning with 2n rows for n requests; `more_images` are further image prompts of each."""
        prompts = [request.negative_prompt for request in requests]
        prompts += [request.prompt for request in requests]
        texts = [self._text(prompt) for prompt in prompts]
        tensors = {name: torch.cat([text[name] for text in texts]) for name in texts[0]}
        numbers = {"guidance": [request.guidance_scale for request in requests]}
        if self.has_adapter:
            numbers["scale"] = [request.ip_adapter_scale for request in requests]
            without = torch.cat(
                [self._image("", None)] * (1 + len(more_images[0] if more_images else ())), 1
            )
            rows = [
                self._prompts(request, [image, *others]) if request.ip_adapter_scale else without
                for request, image, others in zip(
                    requests, images, more_images or [()] * len(requests), strict=True
                )
            ]
            unconditional = rows if self.image_in_all_rows else [without] * len(rows)
            tensors["image"] = torch.cat(unconditional + rows)
        for name, values in numbers.items():
            tensors[name] = torch.tensor(values * 2, device=self.device, dtype=self.dtype)
        (merging,) = {request.image_prompt_merging for request in requests}
        return RowConditioning(tensors, self.dtype, merging == "mean")

    def _prompts(self, request: GenerationRequest, images: Sequence[Image.Image]) -> Tensor:
        """Features of a request's image prompts beside each other."""
        keys = (request.source_sha256, *request.more_source_sha256s)
        return torch.cat([self._image(*item) for item in zip(keys, images, strict=True)], 1)

    def _text(self, prompt: str) -> dict[str, Tensor]:
        def encoded() -> tuple[Tensor, ...]:
            embeddings = self.encoders.text(prompt)
            self.text_names = tuple(embeddings)
            return tuple(embeddings.values())

        found = self.texts.of(prompt, encoded)
        return dict(zip(self.text_names, found, strict=True))

    def _image(self, key: str, image: Image.Image | None) -> Tensor:
        def features() -> tuple[Tensor]:
            if image is None:
                return (self.encoders.no_image(),)
            square = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
            return (self.encoders.image(square),)

        return self.images.of(key, features)[0]


def set_scale(processors: Sequence[Any], scale: Tensor) -> None:
    """Gives attention processors with an IP-Adapter a scale per row, [rows]."""
    row_scale = RowScale(scale[:, None, None])
    for processor in processors:
        processor.scale = [row_scale] if isinstance(processor.scale, list) else row_scale
