"""Models by the names that users give them; each is loaded by the stage that uses it."""

import os
from typing import TYPE_CHECKING

from dalda.data.images import open_image
from dalda.errors import UserError, first_line
from dalda.synthesis.presets import Preset, located, preset_named

if TYPE_CHECKING:
    from dalda.guidance.clip import ClipScorer
    from dalda.prompts.acceptance import CountTokens
    from dalda.synthesis.diffusion import Renderer
    from dalda.trials.features import FeatureStore


def load_scorer(clip: str, device: str) -> "ClipScorer":
    """The CLIP of a preset. Raises UserError when it is not to be had."""
    _hush()
    from dalda.guidance.clip import ClipScorer

    try:
        return ClipScorer.load(located(clip), device=device)
    except Exception as error:  # the loaders raise whatever a strange folder makes them stumble over
        raise UserError(
            f"the CLIP model '{clip}' is neither on disk nor to be fetched "
            f"({first_line(error)}); go online once, or use a guidance that needs no score"
        ) from error


def load_model(preset: Preset, device: str) -> "Renderer":
    """The preset's model, in half precision on a GPU and in single precision elsewhere."""
    _hush()
    import torch

    from dalda.synthesis.diffusion import load_renderer

    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    return load_renderer(preset, device=device, dtype=dtype)


def load_features(backbone: str, device: str) -> "FeatureStore":
    """A loaded backbone with an empty table of features."""
    _hush()
    from dalda.trials.backbones import load_backbone
    from dalda.trials.features import FeatureStore

    folder = located(preset_named("doodle").clip) if backbone == "doodle" else None
    return FeatureStore(load_backbone(backbone, folder=folder, device=device_named(device)), open_image)


def device_named(device: str) -> str:
    """`auto` is a GPU when there is one. Raises UserError for one that is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UserError(f"there is no device '{device}'; write auto, cpu, cuda or mps")
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(
            f"the device '{device}' is not on this machine; leave --device out to choose one"
        ) from None
    return device


def _hush() -> None:
    """Keeps the libraries' loading bars and advice off the terminal; their errors still come."""
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()


def token_counter(preset: Preset) -> "CountTokens | None":
    """Counts a text as the preset's text encoder does; None where its tokenizer is not on disk."""
    _hush()
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(
            located(preset.model), subfolder="tokenizer", local_files_only=True
        )
    except (OSError, ValueError):
        return None
    return lambda text: len(tokenizer(text).input_ids)
