"""Masks of the objects in real images: a folder of PNGs with the images' relative names."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dalda.datasets.image_io import open_source, sha256_of, sides_of
from dalda.errors import UserError
from dalda.progress import note
from dalda.storage import exists
from dalda.types import FewShotSplit

CHECKED_SIDE = 512
"""Pixels a side at which a mask is checked."""


class Mask(NamedTuple):
    """A mask by its file and the hash of its bytes."""

    path: Path
    sha256: str


def masks_of(split: FewShotSplit, folder: Path, growth: float, *, inverted: bool) -> dict[Path, Mask]:
    """The mask of each real image by its path: FOLDER/CLASS/NAME.png for ROOT/CLASS/NAME.jpg.

    Raises UserError for a folder that is not there, and for an image without a mask, with one of another
    size, or with one that leaves nothing to generate; masks that leave nothing to keep are reported.
    """
    if not exists(folder):
        raise UserError(
            f"there is no folder of masks '{folder}'; name one with --method-option masks=FOLDER"
        )
    masks, whole = {}, []
    for image in split.images:
        path = folder / image.path.relative_to(split.root).with_suffix(".png")
        if not exists(path):
            raise UserError(
                f"the image {image.path} has no mask '{path}'; add a PNG of the same size, white on the "
                "object and black around it"
            )
        mask = Mask(path, sha256_of(path))
        opened = open_source(*mask)
        sides, expected = sides_of(path, upright=True), sides_of(image.path, upright=True)
        if sides != expected:
            raise UserError(
                f"the mask '{path}' is {sides[0]} x {sides[1]} pixels and its image "
                f"{expected[0]} x {expected[1]}; make them the same"
            )
        if not np.asarray(opened).any():
            raise UserError(f"the mask '{path}' is black everywhere; make the object in it white")
        region = np.asarray(edited_region(opened, CHECKED_SIDE, growth, inverted))
        if not region.any():
            raise UserError(f"the mask '{path}' leaves no background; make what is not the object black")
        if region.all():
            whole.append(path)
        masks[image.path] = mask
    if whole:
        note(f"{len(whole)} of {len(masks)} masks cover their whole image, as '{whole[0]}'")
    return masks


def edited_region(mask: Image.Image, size: int, growth: float, inverted: bool) -> Image.Image:
    """What is regenerated: a square of `size` pixels in grey, white there and black elsewhere.

    All that is not black in the mask, grown by the maximum over a square window of `growth` times the
    side; `inverted` is the rest.
    """
    from scipy.ndimage import maximum_filter

    square = mask.convert("RGB").resize((size, size), Image.Resampling.NEAREST)
    white = np.asarray(square).any(axis=2)
    white = maximum_filter(white, size=max(1, round(growth * size)))
    return Image.fromarray(np.where(white != inverted, 255, 0).astype(np.uint8))
