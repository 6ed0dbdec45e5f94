"""Data sets by name or folder."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dalda.datasets.image_folder import ImageDataset, read_folder
from dalda.datasets.published import PUBLISHED, SHORT_NAMES, USUAL_FOLDERS, read_published
from dalda.errors import UserError
from dalda.registry import Registry
from dalda.storage import path_of
from dalda.terminal import did_you_mean

HUGGING_FACE = "hf:"


@dataclass(frozen=True)
class DatasetRow:
    """A data set that needs no folder of the user's, and what fits it."""

    read: Callable[[], ImageDataset]
    backbone: str = "clip"
    """The backbone that is used unless another is named."""
    clip: str = "clip"
    """The backbone of class probabilities, where the other reads no class names."""
    vocabulary: str = "photos"
    """The word list of its captions."""
    models: frozenset[str] = frozenset()
    """Presets and backbones that were trained on such images alone."""


DATASETS: Registry[DatasetRow] = Registry()
PHOTOS = DatasetRow(lambda: read_folder(Path()))
"""What fits any other data set."""


def made_for(model: str) -> list[str]:
    """The data sets that a preset or backbone was made for; empty where it was made for photographs."""
    return [name for name, row in DATASETS.items() if model in row.models]


def load_dataset(dataset: str, root: Path | None = None) -> ImageDataset:
    """A data set: a published one in `root` or its usual folder, a registered one, `hf:NAME_OR_FOLDER`, or
    a folder.

    Raises UserError when something is missing, with the way to get it.
    """
    if not os.path.isdir(dataset):
        dataset = SHORT_NAMES.get(dataset, dataset)
    if dataset in PUBLISHED:
        usual = USUAL_FOLDERS[dataset]
        if root is None and os.path.isdir(usual):
            root = usual
        if root is None:
            raise UserError(
                f"{dataset} needs --root DIR, the folder it lies in, since there is no "
                f"'{usual.as_posix()}' (or write ./{dataset} for a folder)"
            )
        return read_published(dataset, root)
    if root is not None:
        raise UserError(f"--root goes with {', '.join(PUBLISHED)} only, not with {dataset}: leave it out")
    if dataset in DATASETS:
        return DATASETS[dataset].read()
    if dataset.startswith(HUGGING_FACE) and not dataset.startswith(f"{HUGGING_FACE}//"):
        from dalda.datasets.huggingface import read_hugging_face

        return read_hugging_face(dataset.removeprefix(HUGGING_FACE))
    near = did_you_mean(dataset, [*PUBLISHED, *DATASETS])
    if near and not os.path.lexists(dataset):
        raise UserError(f"there is no data set or folder '{dataset}'{near}")
    try:
        return read_folder(path_of(dataset).expanduser())
    except RuntimeError:
        raise UserError(f"there is no folder {dataset}: name a folder of class folders") from None
