"""Loading of backbones: by name of the table, entry point, folder or Hub id, or an object from Python."""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig

from dalda.errors import UserError
from dalda.evaluation.backbones.base import FeatureExtractor
from dalda.evaluation.backbones.clip import clip_backbone
from dalda.evaluation.backbones.module import module_backbone
from dalda.evaluation.backbones.scratch import scratch_backbone
from dalda.evaluation.backbones.table import ENTRY_POINTS, ROWS, Row, refuse_unknown_backbone
from dalda.evaluation.backbones.vision import vision_backbone
from dalda.models.hub import loaded
from dalda.models.weights import load_settings
from dalda.plugins import load_plugin
from dalda.types import SCRATCH


def load_backbone(backbone: str | nn.Module | FeatureExtractor, device: str = "cpu") -> FeatureExtractor:
    """A backbone, ready to extract features.

    A name is a row of the table, an entry point, a folder or ID@REVISION, from the disk or else from the
    Hub. Raises UserError when it cannot be loaded or is no backbone.
    """
    if not isinstance(backbone, str):
        return as_backbone(backbone, device)
    refuse_unknown_backbone(backbone)
    if backbone == SCRATCH:
        return scratch_backbone(device)
    if backbone not in ROWS:
        make = load_plugin(ENTRY_POINTS, backbone)
        if make is not None:
            return as_backbone(make(device=device), device)
    row = ROWS.get(backbone, Row(backbone))

    def load(source: str, **options: Any) -> FeatureExtractor:
        return from_transformers(backbone, source, row, device, **options)

    return loaded(row.model, "--backbone", load)


def as_backbone(value: object, device: str) -> FeatureExtractor:
    """An object from Python as a backbone. Raises UserError for neither module nor extractor."""
    if isinstance(value, nn.Module):
        return module_backbone(value, device=device)
    needed = ("name", "fingerprint", "size", "dimensions", "extract")
    lacking = [name for name in needed if not hasattr(value, name)]
    if lacking:
        raise UserError(
            f"A {type(value).__name__} is no backbone: it must be a torch module or have "
            f"{', '.join(needed)} (it lacks {', '.join(lacking)}); see docs/backbones.md."
        )
    return value  # type: ignore[return-value]


def from_transformers(name: str, source: str, row: Row, device: str, **options: Any) -> FeatureExtractor:
    """A CLIP, or any other image model of transformers, from a folder or Hub id.

    Raises UserError for incomplete weights, and else what transformers raises.
    """
    in_cache = options.get("local_files_only") and not Path(source).is_dir()
    if in_cache:
        from huggingface_hub import snapshot_download

        # Given an id, transformers asks the Hub for adapters, and asks again, even when forbidden to.
        source = snapshot_download(source, **options)
    if load_settings(AutoConfig, source, **options).model_type == "clip":
        if in_cache and not (Path(source) / "preprocessor_config.json").is_file():
            raise OSError("its preprocessing is not in the cache")
        return clip_backbone(name, source, row.recipe, device, **options)
    return vision_backbone(name, source, row.recipe, device, **options)
