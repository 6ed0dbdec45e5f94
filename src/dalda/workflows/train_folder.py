"""The folder of `dalda train`: what it was begun with, so that the same command may go on in it."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.config import TrainConfig
from dalda.config.roles import defaults_of, digest_of, names_of
from dalda.generation.synthetic_dataset import refuse_other
from dalda.storage import read_yaml, to_yaml, write
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
        refuse_other(folder, read_yaml(folder / SETTINGS), settings, recorded, defaults_of(TrainConfig))
    else:
        write(folder / SETTINGS, to_yaml(settings))


def end(folder: Path, seconds: float) -> None:
    """Keeps how long the run took that finished the folder; one that finds all done leaves it."""
    settings = read_yaml(folder / SETTINGS)
    if "seconds" not in settings:
        write(folder / SETTINGS, to_yaml({**settings, "seconds": round(seconds, 1)}))
