"""Any image model of transformers as a backbone: ResNet, DINOv2, ViT and the like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel

from dalda.evaluation.backbones.base import Backbone, deciding, fingerprint_of, frozen, pooled, sides
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.models.weights import TASK_HEADS, WeightsError, load_module, load_settings

POOLER = "pooler"


@dataclass(frozen=True)
class VisionBackbone(Backbone):
    """Features are the pooled output, or the mean over positions."""

    def embed(self, pixels: Tensor) -> Tensor:
        return pooled(self.model(pixel_values=pixels))


def vision_backbone(
    name: str, source: str, recipe: HeadRecipe, device: str, **options: Any
) -> VisionBackbone:
    """From a folder or Hub id. Raises UserError for incomplete weights, OSError for a missing part."""
    processor = load_settings(AutoImageProcessor, source, use_fast=False, **options)
    model = frozen(_model(source, options), device)

    def preprocess(images: Sequence[Image.Image]) -> Tensor:
        pixels: Tensor = processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels

    size, dimensions = sides(lambda pixels: pooled(model(pixel_values=pixels)), preprocess, device)
    config: Any = model.config
    settings = processor.to_dict()
    fingerprint = fingerprint_of(model, deciding(config.to_dict()), settings)
    return VisionBackbone(name, model, preprocess, fingerprint, size, dimensions, recipe, settings)


def _model(source: str, options: dict[str, Any]) -> Any:
    """The model with all its weights; one that was saved without a pooler gets none, not a random one."""
    options = {"may_have": TASK_HEADS, **options}
    try:
        return load_module(AutoModel, source, "the backbone", **options)
    except WeightsError:
        model = load_module(AutoModel, source, "the backbone", may_lack=POOLER, **options)
        model.pooler = None
        return model
