"""A data set before any work is done with it: what a person would want to know about it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dalda.config import InspectConfig
from dalda.datasets.class_names import class_wordings, unclear_names
from dalda.datasets.image_io import DECODERS, check_source, sides_of
from dalda.datasets.leakage import leaks
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.progress import progress
from dalda.types import FewShotSplit, RealImage
from dalda.workflows.real_images import split_of


@dataclass(frozen=True)
class DatasetReport:
    """What is in a data set and what is wrong with it."""

    dataset: str
    root: Path
    split: Mapping[str, int]
    """Images by part, as `train` and `augment` use them."""
    classes: Mapping[str, Mapping[str, int]]
    """Images of each class by part."""
    imbalance: float
    """The training images of the largest class per image of the smallest one."""
    shorter_side: Mapping[str, int]
    """Minimum, median and maximum in pixels."""
    bad: tuple[str, ...]
    """A sentence on each image that cannot be used."""
    duplicates: int
    """Images whose file equals an earlier one of the same part."""
    leakage: tuple[str, ...]
    """A sentence for each kind of leakage."""
    unclear: tuple[str, ...]
    """Class names from which neither CLIP nor a language model can tell what an image shows."""


@dataclass(frozen=True)
class _Image:
    """One image's signature and shorter side, or why it cannot be used."""

    image: RealImage
    signature: bytes = b""
    side: int = 0
    fault: str = ""


def inspect_dataset(config: InspectConfig) -> DatasetReport:
    """Opens every image of a data set, and says what is there; nothing is written.

    Raises UserError for a folder that is no data set.
    """
    parts = _parts(config)
    opened = {part: _opened(split.images) for part, split in parts.items()}
    good = {part: [item for item in items if not item.fault] for part, items in opened.items()}
    counts = {part: Counter(image.label for image in split.images) for part, split in parts.items()}
    sides = [item.side for items in good.values() for item in items]
    train, val = good["train"], good.get("val", [])
    return DatasetReport(
        dataset=parts["train"].dataset,
        root=parts["train"].root,
        split={part: len(split.images) for part, split in parts.items()},
        classes={label: {part: counts[part][label] for part in parts} for label in parts["train"].classes},
        imbalance=round(max(counts["train"].values()) / min(counts["train"].values()), 2),
        shorter_side={name: int(at(sides)) for name, at in _SPREAD.items()} if sides else {},
        bad=tuple(item.fault for items in opened.values() for item in items if item.fault),
        duplicates=sum(len(items) - len({item.image.sha256 for item in items}) for items in good.values()),
        leakage=tuple(leaks(*([(item.image, item.signature) for item in part] for part in (train, val)))),
        unclear=tuple(unclear_names(class_wordings(parts["train"]).values())),
    )


_SPREAD: Mapping[str, Callable[[Sequence[int]], float]] = {"min": min, "median": np.median, "max": max}


def _parts(config: InspectConfig) -> dict[str, FewShotSplit]:
    """The training part and, where there is one, the validation part."""
    data = load_dataset(config.dataset, config.root)
    validated = "val" in data.parts or data.halved or config.hold_out
    parts = {part: split_of(config, part) for part in ("train", *(["val"] if validated else []))}
    return {part: split for part, split in parts.items() if split.images}


def _opened(images: Sequence[RealImage]) -> list[_Image]:
    with progress("inspect", len(images)) as bar, ThreadPoolExecutor(DECODERS) as pool:
        items = []
        for item in pool.map(_open, images):
            items.append(item)
            bar.advance()
    return items


def _open(image: RealImage) -> _Image:
    try:
        return _Image(image, check_source(image.path), min(sides_of(image.path)))
    except UserError as error:
        return _Image(image, fault=str(error))
