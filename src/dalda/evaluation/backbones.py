"""The image models under the classifier: one table, each row with its own preprocessing."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, CLIPImageProcessorPil

from dalda.errors import UserError
from dalda.evaluation.backbone_table import ROWS, Row
from dalda.models.presets import located
from dalda.models.weights import TASK_HEADS, load_module, load_settings

BATCH = 64
_RECORDED = {"transformers_version", "architectures", "id2label", "label2id", "dtype", "torch_dtype"}
"""Settings of a model that change no feature: its weights are read as float32 in any case."""


@dataclass(frozen=True)
class Backbone:
    """A frozen image model in eval mode, batch-norm statistics included, and its preprocessing."""

    name: str
    row: Row
    model: nn.Module
    processor: Any
    size: int
    """Side of the square that the model sees, in pixels."""
    dimensions: int
    fingerprint: str
    """Of weights and preprocessing: two backbones that agree here give the same features."""
    tokenizer: Any = field(default=None, repr=False)

    @property
    def text_scale(self) -> float:
        """What CLIP multiplies a cosine with to get a logit; 1 for a model without a text tower."""
        scale = getattr(self.model, "logit_scale", None)
        return float(scale.exp()) if isinstance(scale, Tensor) else 1.0

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Images, preprocessed as this model wants them: float32 [n, 3, size, size]."""
        values = self.processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
        return values["pixel_values"].to(self.device, torch.float32)  # type: ignore[no-any-return]

    def embed(self, pixels: Tensor) -> Tensor:
        """Preprocessed images [n, 3, size, size] to features [n, d], with gradients where they are on."""
        return _embed(self.model, pixels)

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Images to features, float32 [n, d] on the CPU; for CLIP the projected, unnormalised ones."""
        parts = [
            self.embed(self.pixels(images[start : start + BATCH])).float().cpu()
            for start in range(0, len(images), BATCH)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.dimensions)

    @torch.no_grad()
    def head_init(self, class_names: Sequence[str]) -> Tensor | None:
        """CLIP's unnormalised features of `a photo of a {name}`, float32 [classes, d]; None for others."""
        if self.tokenizer is None:
            return None
        texts = [f"a photo of a {name}" for name in class_names]
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        found = self.model.get_text_features(**tokens)  # type: ignore[operator]
        return _pooled(found).float().cpu()


def load_backbone(
    name: str,
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    revision: str | None = None,
    local_files_only: bool = False,
) -> Backbone:
    """A row of the table by name, or any local folder or Hub id of an image model of transformers.

    `folder` is another place of the weights, a folder or Hub id. Raises
    `UserError` where the model misses weights, and else what transformers stumbles over.
    """
    row = ROWS.get(name, Row(name))
    source = str(folder) if folder is not None else located(row.model)
    options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
    in_cache = local_files_only and not Path(source).is_dir()
    if in_cache:
        # Given an id, transformers asks the Hub for adapters, and asks again, even when told not to.
        source = snapshot_download(source, **options)
    config = load_settings(AutoConfig, source, **options)
    processor = _processor(source, config, options, whole=not in_cache)
    model = load_module(
        AutoModel, source, "the backbone", may_have=TASK_HEADS, may_lack="pooler", **options
    )
    tokenizer = load_settings(AutoTokenizer, source, **options) if config.model_type == "clip" else None
    # Float32 on every device: features are computed once, and half precision would change them.
    model = model.to(device=_device(device), dtype=torch.float32).eval().requires_grad_(False)
    size = _side(processor)
    dimensions = _width(model, size)
    return Backbone(
        name, row, model, processor, size, dimensions, _fingerprint(model, processor), tokenizer
    )


def _processor(source: str, config: Any, options: dict[str, Any], *, whole: bool) -> Any:
    """The model's own preprocessing; CLIP's is named, since `AutoImageProcessor` may want torchvision.

    What lies in the cache may not be the `whole` model: there, a CLIP without any is not taken.
    """
    if config.model_type != "clip":
        return load_settings(AutoImageProcessor, source, use_fast=False, **options)
    try:
        return load_settings(CLIPImageProcessorPil, source, **options)
    except OSError:
        if not whole:
            raise
        side = config.vision_config.image_size
        return CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )


def _embed(model: nn.Module, pixels: Tensor) -> Tensor:
    if hasattr(model, "get_image_features"):
        return _pooled(model.get_image_features(pixel_values=pixels))  # type: ignore[operator]
    return _pooled(model(pixel_values=pixels))


def _pooled(found: Any) -> Tensor:
    """One row per image: the pooled output, or the mean over positions where there is none."""
    if isinstance(found, Tensor):
        return found
    pooled: Tensor | None = getattr(found, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    hidden: Tensor = found.last_hidden_state
    return hidden.mean(1) if hidden.ndim == 3 else hidden.flatten(2).mean(2)


def _side(processor: Any) -> int:
    """The side in pixels of what the preprocessing gives, found by trying: its settings vary by model."""
    blank = Image.new("RGB", (512, 512))
    shape = processor(images=[blank], return_tensors="np")["pixel_values"].shape
    return int(shape[-1])


@torch.no_grad()
def _width(model: nn.Module, size: int) -> int:
    device = next(model.parameters()).device
    return int(_embed(model, torch.zeros(1, 3, size, size, device=device)).shape[1])


def _fingerprint(model: nn.Module, processor: Any) -> str:
    """A hash over the settings of the model and its preprocessing, and every weight, its name and shape."""
    config: Any = model.config
    settings = json.dumps(_deciding(config.to_dict()), sort_keys=True, default=str)
    digest = hashlib.sha256((settings + processor.to_json_string()).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)} ".encode())
        digest.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return digest.hexdigest()[:20]


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """A model's settings without where it came from and what wrote it down, parts included."""
    return {
        key: _deciding(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in _RECORDED and not str(key).startswith("_")
    }


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"The device {name!r} was asked for, but this machine has no CUDA device: use cpu.")
    return name
