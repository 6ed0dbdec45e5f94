"""Few-shot splits: the original code's split_strategy, exactly, and one of ours that nests."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalda.datasets.image_folder import PARTS, ImageDataset
from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, RealImage

Indices = NDArray[np.int64]
SPLIT_STRATEGIES = ("original", "stratified")


def reference_order(counts: Sequence[int], seed: int) -> list[Indices]:
    """For each class of `counts` images a permutation of them, all from one generator, class by class."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(count) for count in counts]


def stratified_order(classes: Sequence[str], counts: Sequence[int], seed: int) -> list[Indices]:
    """The same with a generator per class, so that a class is drawn alike whatever the others hold."""
    return [
        generator_of(seed, "split", label).permutation(count)
        for label, count in zip(classes, counts, strict=True)
    ]


def half_of(order: Indices, part: str) -> Indices:
    """The first half for train, the second for val; the first is the larger of an odd number."""
    return np.array_split(order, 2)[PARTS.index(part)]


def sample_few_shot(
    catalog: ImageDataset,
    *,
    part: str = "train",
    seed: int = 0,
    shots: int | None = None,
    split_strategy: str = "original",
    hold_out: bool = False,
) -> FewShotSplit:
    """The examples of one part: `shots` of each class (None is all), in class order.

    `original` halves the lists of a catalog that says so; `stratified` halves only the list that two parts
    must share, and so leaves the parts disjoint. Elsewhere every image is an example: in file order or, for
    some shots, the first of a seeded permutation. `hold_out` lets a folder without a validation part
    share its train list between both. Splits of rising shots nest, by either rule. A file that cannot be
    read has no hash: whoever opens it says so, or goes on without.
    Raises UserError for more shots than a class has images, and for a part that is not there.
    """
    _check_request(part, seed, shots, split_strategy)
    shared = "val" not in catalog.parts and (catalog.halved or hold_out)
    if part not in catalog.parts and not shared:
        raise UserError(
            f"{catalog.root} has no validation part: add a folder 'val', or have some of train held out"
        )
    files = catalog.parts.get(part, catalog.parts["train"])
    halved = shared or (catalog.halved and split_strategy == "original")
    drawn = _draw(catalog.classes, files, part, seed, shots, split_strategy, halved)
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(_hash, (path for _, path in drawn))
    examples = tuple(
        RealImage(path, label, sha256) for (label, path), sha256 in zip(drawn, hashes, strict=True)
    )
    return FewShotSplit(catalog.dataset, catalog.root, part, seed, shots, catalog.classes, examples)


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except UserError:
        return ""


def split_as_json(split: FewShotSplit) -> dict[str, object]:
    """A split as plain JSON values, its paths relative to the data set's root."""
    return {
        "dataset": split.dataset,
        "seed": split.seed,
        "shots": split.shots,
        "part": split.part,
        "classes": list(split.classes),
        "examples": [
            {"path": example.path.relative_to(split.root).as_posix(), "label": example.label}
            for example in split.images
        ],
    }


def _draw(
    classes: tuple[str, ...],
    files: dict[str, tuple[Path, ...]],
    part: str,
    seed: int,
    shots: int | None,
    split_strategy: str,
    halved: bool,
) -> list[tuple[str, Path]]:
    """(class, file) of each example."""
    counts = [len(files[label]) for label in classes]
    if not halved and shots is None:
        orders = [np.arange(count) for count in counts]
    elif split_strategy == "original":
        orders = reference_order(counts, seed)
    else:
        orders = stratified_order(classes, counts, seed)
    drawn: list[tuple[str, Path]] = []
    for label, order in zip(classes, orders, strict=True):
        # A class that a published set's own lists leave bare is no mistake of the user's.
        if len(order) == 0:
            continue
        ids = half_of(order, part) if halved else order
        if len(ids) < (shots or 1):
            of = f" of {len(order)}, the others being held out" if halved else ""
            raise UserError(
                f"class '{label}' has {len(ids)} images for {part}{of}, fewer than the {shots or 1} wanted:"
                " ask for fewer shots or add images"
            )
        drawn += [(label, files[label][index]) for index in ids[:shots]]
    return drawn


def _check_request(part: str, seed: int, shots: int | None, split_strategy: str) -> None:
    if part not in PARTS:
        raise UserError(f"there is no part '{part}': choose one of {', '.join(PARTS)}")
    if split_strategy not in SPLIT_STRATEGIES:
        raise UserError(
            f"there is no split rule '{split_strategy}': choose one of {', '.join(SPLIT_STRATEGIES)}"
        )
    if shots is not None and shots < 1:
        raise UserError(f"{shots} shots are too few: ask for at least 1 image a class, or for all")
    if seed < 0:
        raise UserError(f"the seed {seed} is negative: choose 0 or a larger one")
