"""Backbone protocols, and the base of all backbones that are torch models."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dalda.evaluation.backbones.table import HeadRecipe

BATCH = 64
RECORDED = {"transformers_version", "architectures", "id2label", "label2id", "dtype", "torch_dtype"}
"""Settings of a transformers model that change no feature: its weights are read as float32 in any case."""


class FeatureExtractor(Protocol):
    """A frozen image model with its own preprocessing."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """A hash of weights, settings and preprocessing: equal ones give equal features."""
        ...

    @property
    def size(self) -> int:
        """Side in pixels of what the model reads: nothing finer reaches it."""
        ...

    @property
    def dimensions(self) -> int:
        """Width d of a feature."""
        ...

    def extract(self, images: Sequence[Image.Image]) -> Tensor:
        """Features of images of any size, float32 [n, d] on the CPU."""
        ...


@runtime_checkable
class ZeroShot(Protocol):
    """A backbone that reads class names, too (a CLIP)."""

    @property
    def logit_scale(self) -> float:
        """What multiplies a cosine to give a logit."""
        ...

    def text_features(self, names: Sequence[str]) -> Tensor:
        """Features of class names, float32 [classes, d]."""
        ...


@dataclass(frozen=True)
class Backbone:
    """A torch model as a backbone: in eval mode, batch-norm statistics included, and float32."""

    name: str
    model: nn.Module
    preprocess: Callable[[Sequence[Image.Image]], Tensor] = field(repr=False)
    """RGB images to float32 [n, 3, size, size]."""
    fingerprint: str
    size: int
    dimensions: int
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    preprocessing: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Settings of `preprocess`, for the record; empty where unknown."""

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters(), torch.empty(0)).device

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Images, preprocessed as this model wants them: float32 [n, 3, size, size]."""
        return self.preprocess([image.convert("RGB") for image in images]).to(self.device, torch.float32)

    def embed(self, pixels: Tensor) -> Tensor:
        """Preprocessed images [n, 3, size, size] to features [n, d], with gradients where they are on."""
        return pooled(self.model(pixels))

    @torch.no_grad()
    def extract(self, images: Sequence[Image.Image]) -> Tensor:
        parts = [
            self.embed(self.pixels(images[start : start + BATCH])).float().cpu()
            for start in range(0, len(images), BATCH)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.dimensions)


def frozen(model: nn.Module, device: str) -> nn.Module:
    """The model in eval mode and without gradients; float32, since half precision would change features."""
    return model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)


def pooled(output: Any) -> Tensor:
    """One row per image: the pooled output, or the mean over positions where there is none."""
    if isinstance(output, Tensor):
        return output.flatten(1) if output.ndim == 2 else output.flatten(2).mean(2)
    pooler: Tensor | None = getattr(output, "pooler_output", None)
    if pooler is not None:
        return pooler.flatten(1)
    hidden: Tensor = output.last_hidden_state
    return hidden.mean(1) if hidden.ndim == 3 else hidden.flatten(2).mean(2)


@torch.no_grad()
def sides(
    embed: Callable[[Tensor], Tensor], preprocess: Callable[..., Tensor], device: str
) -> tuple[int, int]:
    """Size and dimensions, found by trying: settings of preprocessing vary by model."""
    pixels = preprocess([Image.new("RGB", (512, 512))]).to(device, torch.float32)
    return int(pixels.shape[-1]), int(embed(pixels).shape[1])


def fingerprint_of(model: nn.Module, *settings: object) -> str:
    """A hash over settings and over every weight, its name and its shape."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)} ".encode())
        digest.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return digest.hexdigest()[:20]


def deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """A model's settings, parts included, without where it came from and what wrote it down."""
    return {
        key: deciding(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in RECORDED and not str(key).startswith("_")
    }
