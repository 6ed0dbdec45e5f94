"""The folder of `dalda train`: what it was begun with, so that the same command may go on in it."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dalda.config import TrainConfig
from dalda.config.roles import defaults_of, digest_of, names_of
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import as_yaml, refuse_other
from dalda.storage.atomic import write_atomically
from dalda.types import FewShotSplit, RealImage, SyntheticImage
from dalda.workflows.synthetic_sets import SyntheticSet

if TYPE_CHECKING:
    from dalda.evaluation.backbones.base import FeatureExtractor

SETTINGS = "train.yaml"
_VERSIONED = ("dalda", "torch", "transformers", "numpy", "Pillow", "kornia")


def settings_of(
    config: TrainConfig,
    split: FewShotSplit,
    validation: FewShotSplit,
    sets: Mapping[str, SyntheticSet],
    backbone: "FeatureExtractor",
) -> dict[str, Any]:
    """What train.yaml says: the settings as they were resolved, and digests of the images."""
    from dalda.evaluation.trial import image_file

    def digest(images: Iterable[RealImage | SyntheticImage]) -> str:
        return digest_of([[one.label, image_file(one).sha256] for one in images])

    return {
        **config.model_dump(mode="json", exclude={"out"}),
        "dataset": split.dataset,
        "synthetic": {arm: str(made.folder) for arm, made in sets.items()},
        "backbone": backbone.name,
        "device": config.device,
        "backbone_fingerprint": backbone.fingerprint,
        "examples": len(split.images),
        "examples_sha256": digest(split.images),
        "validation_images": len(validation.images),
        "validation_sha256": digest(validation.images),
        "images": {arm: len(made.samples) for arm, made in sets.items()},
        "images_sha256": {arm: digest(made.samples) for arm, made in sets.items()},
        "versions": {name: version(name) for name in _VERSIONED},
    }


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Begins a run's folder, or goes on in one of the same settings.

    Raises UserError that names the difference.
    """
    if (folder / SETTINGS).exists():
        recorded = {*names_of(TrainConfig, "location", "execution", within="sets"), "versions", "seconds"}
        refuse_other(folder, _read(folder), settings, recorded, defaults_of(TrainConfig))
    else:
        write_atomically(folder / SETTINGS, as_yaml(settings))


def end(folder: Path, seconds: float) -> None:
    """Keeps how long the run took that finished the folder; one that finds all done leaves it."""
    settings = _read(folder)
    if "seconds" not in settings:
        write_atomically(folder / SETTINGS, as_yaml({**settings, "seconds": round(seconds, 1)}))


def _read(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        settings = None
    if not isinstance(settings, dict):
        raise UserError(f"the settings '{path}' cannot be read; restore them or use a new folder with -o")
    return settings
