"""Few-shot splits: which images are learned from, and which are held out for validation."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalda.datasets.image_folder import PARTS, ImageDataset
from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.registry import Registry
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, RealImage

Indices = NDArray[np.int64]
HOLD_OUT = 0.5
"""The share of a folder without a validation part that is held out by default."""


@dataclass(frozen=True)
class SplitStrategy:
    """How images are drawn: for (classes, counts, seed) a permutation of each class's images."""

    orders: Callable[[Sequence[str], Sequence[int], int], list[Indices]]
    halves_each_list: bool = False
    """Whether train and validation lists of a data set marked `halved` are halved each; the lists of others
    stay as they are, and a single list is shared between both parts."""


def stratified_order(classes: Sequence[str], counts: Sequence[int], seed: int) -> list[Indices]:
    """A permutation for each class from a generator of its own, whatever the other classes hold."""
    return [
        generator_of(seed, "split", label).permutation(count)
        for label, count in zip(classes, counts, strict=True)
    ]


SPLIT_STRATEGIES: Registry[SplitStrategy] = Registry({"stratified": SplitStrategy(stratified_order)})
"""The split strategies by name."""


def part_of(order: Indices, part: str, hold_out: float) -> Indices:
    """The part of a class's permutation: the last `hold_out` of it, rounded down, is for validation."""
    first = len(order) - held_out_count(len(order), hold_out)
    return order[:first] if part == "train" else order[first:]


def held_out_count(count: int, hold_out: float) -> int:
    return math.floor(count * hold_out + 1e-9)


def sample_few_shot(
    catalog: ImageDataset,
    *,
    part: str = "train",
    seed: int = 0,
    shots: int | None = None,
    split_strategy: str = "original",
    hold_out: float = HOLD_OUT,
) -> FewShotSplit:
    """The images of one part: `shots` of each class (None is all), in class order.

    A data set without a validation part is shared: `hold_out` of each class, by seed and strategy, is for
    validation and never in train, whichever command asks; 0 keeps all in train. Otherwise every image of
    the part is in: in file order or, for some shots, the first of a seeded permutation. Splits of rising
    shots nest. A file that cannot be read has no hash: whoever opens it reports it. Raises UserError for
    more shots than a class has images, and for a part that does not exist.
    """
    _check_request(part, seed, shots, split_strategy, hold_out)
    strategy = SPLIT_STRATEGIES[split_strategy]
    has_validation = "val" in catalog.parts
    if part == "val" and not has_validation and not (catalog.halved or hold_out):
        raise UserError(
            f"{catalog.root} has no validation part: add a folder 'val', or hold some out with --hold-out"
        )
    held_out = HOLD_OUT if catalog.halved else hold_out
    if has_validation and not (catalog.halved and strategy.halves_each_list):
        held_out = 0.0
    drawn = _draw(catalog, part, seed, shots, strategy, held_out)
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(_hash, (path for _, path in drawn))
    images = tuple(
        RealImage(path, label, sha256) for (label, path), sha256 in zip(drawn, hashes, strict=True)
    )
    return FewShotSplit(catalog.dataset, catalog.root, part, seed, shots, catalog.classes, images)


def split_as_json(split: FewShotSplit) -> dict[str, object]:
    """A split as plain JSON values, its paths relative to the data set's root."""
    return {
        "dataset": split.dataset,
        "seed": split.seed,
        "shots": split.shots,
        "part": split.part,
        "classes": list(split.classes),
        "images": [
            {"path": image.path.relative_to(split.root).as_posix(), "label": image.label}
            for image in split.images
        ],
    }


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except UserError:
        return ""


def _draw(
    catalog: ImageDataset, part: str, seed: int, shots: int | None, strategy: SplitStrategy, held_out: float
) -> list[tuple[str, Path]]:
    """(class, file) of each image."""
    files = catalog.parts.get(part, catalog.parts["train"])
    counts = [len(files[label]) for label in catalog.classes]
    orders = [np.arange(count) for count in counts]
    if held_out or shots is not None:
        orders = strategy.orders(catalog.classes, counts, seed)
    drawn: list[tuple[str, Path]] = []
    for label, order in zip(catalog.classes, orders, strict=True):
        # A class that a published set's own lists leave empty is no mistake of the user's.
        if len(order) == 0:
            continue
        numbers = part_of(order, part, held_out) if held_out else order
        if len(numbers) < (shots or 1):
            others = f" of {len(order)}, the others being held out" if held_out else ""
            raise UserError(
                f"class '{label}' has {len(numbers)} images for {part}{others}, fewer than the "
                f"{shots or 1} wanted: ask for fewer shots or add images"
            )
        drawn += [(label, files[label][number]) for number in numbers[:shots]]
    return drawn


def _check_request(part: str, seed: int, shots: int | None, split_strategy: str, hold_out: float) -> None:
    if part not in PARTS:
        raise UserError(f"there is no part '{part}': choose one of {', '.join(PARTS)}")
    if split_strategy not in SPLIT_STRATEGIES:
        known = ", ".join(SPLIT_STRATEGIES)
        raise UserError(f"there is no split strategy '{split_strategy}': choose one of {known}")
    if shots is not None and shots < 1:
        raise UserError(f"{shots} shots are too few: ask for at least 1 image a class, or for all")
    if seed < 0:
        raise UserError(f"the seed {seed} is negative: choose 0 or a larger one")
    if not 0 <= hold_out < 1:
        raise UserError(f"{hold_out:g} of the images cannot be held out: choose at least 0 and less than 1")
