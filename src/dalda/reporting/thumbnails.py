"""Small images for pages, encoded from decoded images: no byte of a stranger's file is passed on."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from dalda.datasets.image_io import open_image

Item = TypeVar("Item")
SIDE = 128
"""The longer side of a thumbnail in the report, in pixels."""
TINY = 64
"""Images up to this side are kept as they are, and shown larger without smoothing."""


@dataclass(frozen=True)
class Thumbnail:
    """A small WebP image inside a page."""

    webp: bytes
    width: int
    height: int

    @property
    def address(self) -> str:
        return "data:image/webp;base64," + base64.b64encode(self.webp).decode()

    @property
    def tiny(self) -> bool:
        return max(self.width, self.height) <= TINY


@dataclass
class ThumbnailBudget:
    """Makes thumbnails until their bytes are used up."""

    bytes: int

    def take(self, paths: Sequence[Path]) -> list[Thumbnail] | None:
        """Thumbnails of all these images, or None where they do not all fit."""
        thumbnails = [thumbnail(open_image(path)) for path in paths]
        size = sum(len(thumbnail.webp) for thumbnail in thumbnails)
        if size > self.bytes:
            return None
        self.bytes -= size
        return thumbnails


def thumbnail(
    image: Image.Image, side: int = SIDE, *, lossless_side: int = TINY, quality: int = 75
) -> Thumbnail:
    """The image as WebP, at most `side` pixels wide and high; without loss up to `lossless_side`."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "WEBP", lossless=max(small.size) <= lossless_side, quality=quality, method=4)
    return Thumbnail(file.getvalue(), *small.size)


def chosen_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """So many of the items, evenly chosen in their order; all where they are no more."""
    step = max(len(items) / most, 1)
    return [items[int(number * step)] for number in range(min(most, len(items)))]
