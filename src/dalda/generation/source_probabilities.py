"""CLIP class probabilities of the source images, as a folder was begun with: OUT/source_probabilities.json.

They decide IP-Adapter scales, and so requests. Another device or number of threads moves a probability by
its last digit, and another class moves all of them: computed again, they would start a second image beside
each of the first. So those of known images hold, and only new ones are added.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from dalda.errors import UserError
from dalda.generation.set_settings import SETTINGS
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.storage import exists, read_json, write

PROBABILITIES = "source_probabilities.json"
Probabilities = Mapping[tuple[str, str], float]
"""By class and by the hash of the image's bytes."""


def read_probabilities(
    folder: Path, clip: str, *, without_images: bool = False
) -> dict[tuple[str, str], float]:
    """This CLIP's probabilities in the folder; empty if it holds none, or no image that they decided.

    Shards begin together, and take what the first one wrote (`without_images`). Raises UserError if
    damaged.
    """
    path = folder / PROBABILITIES
    if not exists(folder / SETTINGS) or not exists(path):  # then it is no folder of ours, or has none
        return {}
    # A folder without images accepts other settings, such as other wordings of the classes.
    if not without_images and SyntheticDataset(folder).is_empty():
        return {}
    recorded = read_json(path)
    try:
        if recorded["clip"] != clip:
            return {}
        return {
            (label, sha256): _share(value)
            for label, by_hash in recorded["probabilities"].items()
            for sha256, value in by_hash.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(path) from None


def clip_of_probabilities(folder: Path) -> str | None:
    """The CLIP that the folder's probabilities are of; None if it holds none.

    Raises UserError if damaged.
    """
    path = folder / PROBABILITIES
    recorded = read_json(path) if exists(path) else None
    if recorded is not None and not (isinstance(recorded, dict) and isinstance(recorded.get("clip"), str)):
        raise _damaged(path)
    return None if recorded is None else str(recorded["clip"])


def write_probabilities(
    folder: Path, clip: str, probabilities: Probabilities, *, without_images: bool = False
) -> None:
    """Adds the probabilities that the folder lacks.

    Raises UserError if it holds others for the same images: another process began it in the meantime.
    """
    recorded = read_probabilities(folder, clip, without_images=without_images)
    if any(recorded.get(key, value) != value for key, value in probabilities.items()):
        raise UserError(f"another process has begun '{folder}' meanwhile; run the same command again")
    if recorded.keys() >= probabilities.keys():
        return
    by_class: dict[str, dict[str, float]] = {}
    for (label, sha256), value in {**recorded, **probabilities}.items():
        by_class.setdefault(label, {})[sha256] = value
    content = {"clip": clip, "probabilities": by_class}
    write(folder / PROBABILITIES, json.dumps(content, ensure_ascii=False, indent=1) + "\n", shared=True)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)


def _damaged(path: Path) -> UserError:
    return UserError(f"'{path}' is damaged; restore it, or choose another folder with -o")
