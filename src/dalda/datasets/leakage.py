"""Leakage: the same image, or nearly the same, in two parts or classes, or among synthetic images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dalda.datasets.image_io import SIGNATURE_SIDE
from dalda.types import RealImage

Signed = Sequence[tuple[RealImage, bytes]]
"""Images with their signatures, as `image_io.check_image` gives them: an image in a few RGB pixels."""
NEAR = 0.2
"""Distance of two signatures, of mean 0 and length 1, up to which one image is a copy of the other:
smaller or compressed again. Different photographs are at 0.8 and more."""
FLAT = 2.0
"""Standard deviation, of 255 levels, below which a signature shows nothing."""
ROWS = 1024
COARSE = 4


def leaks(train: Signed, validation: Signed = ()) -> list[str]:
    """A sentence for each kind of leakage, with its count and an example; empty where there is none.

    Images are compared by hash, then by signature: train with validation, and train between its classes. A
    thousand images with ten thousand take about a second.
    """
    found = []
    across = _copies(train, validation)
    if across:
        one, other = across[0]
        found.append(
            f"{len(across)} of {len(validation)} validation images are also in train, or nearly the same "
            f"as one there, as {one.path} and {other.path}: accuracies will be too high; take them out of "
            "one part"
        )
    mixed = _copies(train, train, of_later_classes=True)
    if mixed:
        one, other = mixed[0]
        found.append(
            f"{len(mixed)} images are in two classes, or nearly the same as one of another class, as "
            f"{one.path} and {other.path}: take them out of the wrong class"
        )
    return found


def validation_copies(synthetic: Signed, validation: Signed) -> str:
    """A sentence on synthetic images that show the same as a validation image; empty where none does."""
    found = _copies(validation, synthetic)
    if not found:
        return ""
    one, other = found[0]
    return (
        f"{len(found)} of {len(synthetic)} synthetic images are nearly the same as a validation image, as "
        f"{other.path} and {one.path}: the model may have learned from the validation images, and what the "
        "synthetic ones gain may be memory; validate on images that it cannot have seen"
    )


def _copies(
    signed: Signed, others: Signed, *, of_later_classes: bool = False
) -> list[tuple[RealImage, RealImage]]:
    """Each image of the second list that shows the same as one of the first, with that one.

    Each counts once, however many copies there are of it; with `of_later_classes` only where its class is
    later in the alphabet.
    """
    first, second = ([image for image, _ in group] for group in (signed, others))
    a, b = _features(signed), _features(others)
    classes = {label: place for place, label in enumerate(sorted({image.label for image in second}))}
    labels = np.array([classes[image.label] for image in second], np.int64)
    by_hash: dict[str, list[int]] = {}
    for number, image in enumerate(second):
        by_hash.setdefault(image.sha256, []).append(number)
    found: list[tuple[RealImage, RealImage]] = []
    left, done = np.ones(len(second), bool), set[tuple[str, str]]()
    small_a, small_b = _coarse(a), _coarse(b)
    for start in range(0, len(first), ROWS):
        # Means of neighbouring pixels are never further apart than the pixels: a cheap first check.
        near = small_a[start : start + ROWS] @ small_b.T >= _lengths(small_a, small_b, start) - NEAR**2 / 2
        for row, image in enumerate(first[start : start + ROWS]):
            if (image.sha256, image.label) in done:
                continue
            done.add((image.sha256, image.label))
            near[row, by_hash.get(image.sha256, []) if image.sha256 else []] = True
            near[row] &= left
            if of_later_classes:
                near[row] &= labels > classes[image.label]
            wanted = np.flatnonzero(near[row])
            distances = np.square(b[wanted] - a[start + row]).sum(1)
            for number, distance in zip(wanted.tolist(), distances, strict=True):
                if distance <= NEAR**2 or second[number].sha256 == image.sha256 != "":
                    left[number] = False
                    found.append((image, second[number]))
    return found


def _lengths(a: NDArray[np.float32], b: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """Half the sum of squared lengths of each pair of rows: |x - y|^2 / 2 is this less their product."""
    left, right = (np.square(rows).sum(1) / 2 for rows in (a[start : start + ROWS], b))
    total: NDArray[np.float32] = left[:, None] + right[None, :]
    return total


def _features(signed: Signed) -> NDArray[np.float32]:
    """Signatures at mean 0 and length 1, [n, pixels]; those that show nothing are far from all others."""
    content = b"".join(signature for _, signature in signed)
    values = np.frombuffer(content, np.uint8).reshape(len(signed), 3 * SIGNATURE_SIDE**2).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    flat = values.std(1) < FLAT
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    values[flat] = np.nan
    return values


def _coarse(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over squares of pixels, scaled so that no distance grows."""
    side = SIGNATURE_SIDE // COARSE
    squares = values.reshape(len(values), COARSE, side, COARSE, side, 3).sum((2, 4)) / side
    coarse: NDArray[np.float32] = squares.reshape(len(values), 3 * COARSE**2)
    return coarse
