"""Reads synthetic sets back without the images that a person rejected, and reports how many those are."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dalda.config import DataConfig
from dalda.datasets.image_folder import refuse_output_among
from dalda.datasets.image_io import IMAGE_SUFFIXES
from dalda.datasets.registry import DATASETS, PHOTOS, made_for
from dalda.errors import UserError
from dalda.evaluation.backbones.table import refuse_unknown_backbone
from dalda.generation.synthetic_dataset import TRAIN, SyntheticDataset
from dalda.progress import note, say
from dalda.review.log import rejected
from dalda.types import SyntheticImage


@dataclass(frozen=True)
class SyntheticSet:
    """The images of one synthetic folder that are used, and those that a person rejected."""

    folder: Path
    images: tuple[SyntheticImage, ...]
    rejected: tuple[SyntheticImage, ...] = ()


def synthetic_set(folder: Path, *, ignore_review: bool = False) -> SyntheticSet:
    """The folder's images; those rejected in a review are excluded, unless the review is ignored.

    Raises UserError for what is no synthetic folder, and where no image is there or left.
    """
    images = SyntheticDataset.existing(folder).synthetic_images()
    if not images:
        raise UserError(f"the synthetic folder '{folder}' holds no images yet; run dalda augment again")
    refused = frozenset() if ignore_review else rejected(folder)
    removed = tuple(image for image in images if image.request_id in refused)
    if removed:
        say(f"note: {len(removed)} of {len(images)} images of '{folder}' were rejected in review; excluded")
    if len(removed) == len(images):
        raise UserError(
            f"every image of '{folder}' was rejected in review; make more, or keep them: --ignore-review"
        )
    return SyntheticSet(
        folder, tuple(image for image in images if image.request_id not in refused), removed
    )


def written_suffix(folder: Path, request_id: str, path: Path) -> str:
    """The suffix of an image that dalda wrote. Raises UserError for any other name in the metadata."""
    suffix = path.suffix.lower()
    if not re.fullmatch(r"[0-9a-f]{8,64}", request_id) or suffix not in IMAGE_SUFFIXES:
        raise UserError(
            f"the metadata of '{folder}' names {str(path)!r} for the request {request_id!r}, which dalda "
            "did not write; take that line out"
        )
    return suffix


def clip_for(config: DataConfig) -> str:
    """The backbone of class probabilities that fits the data set."""
    return DATASETS.get(config.dataset, PHOTOS).clip


def say_default(config: DataConfig, backbone: str) -> None:
    """Says which backbone was chosen for a data set that has one of its own."""
    row = DATASETS.get(config.dataset, PHOTOS)
    if row.backbone != PHOTOS.backbone:
        other = (
            "" if row.clip == backbone else f"; '{row.clip}' reads them and gives zero-shot (--backbone)"
        )
        note(f"the backbone is '{backbone}', which never saw the classes of {config.dataset}{other}")


def refuse_output_beside(out: Path, folder: Path, sources: Iterable[tuple[Path, str]]) -> None:
    """Raises UserError for a place where an output would become a part of a set, or of its data set.

    `sources` are real images with their classes.
    """
    folders = {path.parent: (path, label) for path, label in sources}
    refuse_output_among(out, dict(folders.values()))
    if out.expanduser().resolve().is_relative_to((folder / TRAIN).resolve()):
        raise UserError(f"'{out}' lies among the images of '{folder}'; choose a place outside of it")


def backbone_for(config: DataConfig, named: str | None) -> str:
    """The named backbone, or the one that fits the data set. Raises UserError for an unknown one."""
    if named is None:
        return DATASETS.get(config.dataset, PHOTOS).backbone
    refuse_unknown_backbone(named)
    known = made_for(named)
    if known and config.dataset not in known:
        note(f"the backbone '{named}' only knows {known[0]}; for photographs choose clip or another")
    return named
