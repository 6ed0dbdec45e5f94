"""Models by the names that users give them; each is loaded by the stage that uses it."""

from typing import TYPE_CHECKING, Any

from dalda.cache import cache_folder
from dalda.datasets.image_io import open_image
from dalda.device import device_named, dtype_named, quiet_libraries
from dalda.models.presets import Preset

if TYPE_CHECKING:
    from torch import nn

    from dalda.captions.validation import CountTokens
    from dalda.config import AugmentConfig
    from dalda.evaluation.backbones.base import FeatureExtractor
    from dalda.evaluation.features import FeatureStore
    from dalda.generation.backends.base import ImageGenerator
    from dalda.models.clip import Clip

BYTES = 256
"""Every CLIP vocabulary has more entries: it begins with one for each byte."""


def load_scorer(clip: str, device: str) -> "Clip":
    """The CLIP of a preset. Raises UserError when it cannot be loaded."""
    quiet_libraries()
    from dalda.models.clip import Clip
    from dalda.models.hub import loaded

    def load(name: str, **place: Any) -> Clip:
        return Clip.load(name, device=device, **place)

    return loaded(clip, "--model-option clip=", load)


def load_generator(config: "AugmentConfig", preset: Preset) -> "ImageGenerator":
    """The preset's model; `auto` is half precision on a GPU and single precision elsewhere."""
    quiet_libraries(diffusers=True)
    from dalda.generation.backends.base import GeneratorSpec

    device = device_named(config.device)
    dtype = dtype_named(config.dtype, device)
    return GeneratorSpec(preset, device, dtype, config.channels_last, config.compile).load()


def load_features(
    backbone: "str | nn.Module | FeatureExtractor",
    device: str,
    *,
    views: int = 8,
    transforms: str = "standard",
) -> "FeatureStore":
    """A loaded backbone with the features that it gave earlier, kept in the user's cache.

    Raises UserError for a backbone that cannot be loaded (`dalda.evaluation.backbones.load`).
    """
    quiet_libraries()
    from dalda.evaluation.backbones.load import load_backbone
    from dalda.evaluation.features import FeatureStore

    model = load_backbone(backbone, device_named(device))
    return FeatureStore(
        model, open_image, views=views, transforms=transforms, folder=cache_folder("features")
    )


def token_counter(preset: Preset) -> "CountTokens | None":
    """Counts a text as the preset's text encoder does; None where its tokenizer is not on disk."""
    quiet_libraries()
    from transformers import CLIPTokenizer

    from dalda.models.hub import place_of
    from dalda.models.weights import load_settings

    place = place_of(preset.model)
    try:
        tokenizer = load_settings(
            CLIPTokenizer,
            place.name,
            subfolder="tokenizer",
            revision=place.revision,
            local_files_only=True,
        )
    except (OSError, ValueError):
        return None
    # Where there is nothing, transformers 5 raises nothing: it gives a tokenizer of two special tokens,
    # which would count letters.
    if len(tokenizer) <= BYTES:
        return None
    return lambda text: len(tokenizer(text).input_ids)
