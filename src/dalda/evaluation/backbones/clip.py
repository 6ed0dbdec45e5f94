"""A CLIP as a backbone: projected image features, and text features for zero-shot heads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dalda.evaluation.backbones.base import Backbone, deciding, fingerprint_of, frozen
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.models.clip import Clip


@dataclass(frozen=True)
class ClipBackbone(Backbone):
    """Features are CLIP's projected, unnormalised ones; the text tower stays frozen in any case."""

    clip: Clip | None = field(default=None, repr=False)

    @property
    def logit_scale(self) -> float:
        assert self.clip is not None
        return self.clip.scale

    def text_features(self, names: Sequence[str]) -> Tensor:
        """Of `a photo of a {name}`, float32 [classes, d]."""
        assert self.clip is not None
        return self.clip.text_features(names).float().cpu()

    def embed(self, pixels: Tensor) -> Tensor:
        model: Any = self.model
        features: Tensor = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        return features


def clip_backbone(name: str, source: str, recipe: HeadRecipe, device: str, **options: Any) -> ClipBackbone:
    """From a folder or Hub id. Raises UserError for incomplete weights, OSError for a missing part."""
    clip = Clip.load(source, device=device, **options)
    model, processor = frozen(clip.model, device), clip.processor
    return ClipBackbone(
        name=name,
        model=model,
        preprocess=lambda images: processor(images=list(images), return_tensors="pt")["pixel_values"],
        fingerprint=fingerprint_of(model, deciding(clip.model.config.to_dict()), processor.to_dict()),
        size=clip.model.config.vision_config.image_size,
        dimensions=clip.model.config.projection_dim,
        recipe=recipe,
        preprocessing=processor.to_dict(),
        clip=clip,
    )
