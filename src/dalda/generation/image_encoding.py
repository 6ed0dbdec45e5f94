"""A rendered picture as the bytes of a file, and whether it is a picture at all."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

BLANK = 2
"""A picture whose values all lie within this range is of one colour."""
NOT_A_NUMBER = "not a number"
ONE_COLOUR = "of one colour"
REPEATED = "the same as another picture"


@dataclass(frozen=True)
class Format:
    """How pictures are written."""

    suffix: str
    pillow: str
    options: Mapping[str, Any]


FORMATS = {
    # A fast level: the disk is cheaper than the time.
    "png": Format(".png", "PNG", {"compress_level": 1}),
    "webp": Format(".webp", "WEBP", {"quality": 95, "method": 2}),
    "jpeg": Format(".jpg", "JPEG", {"quality": 95, "subsampling": 0}),
}


@dataclass(frozen=True)
class Encoded:
    """The file to be, and what is wrong with the picture, if anything."""

    data: bytes
    suffix: str
    sha256: str
    """Of `data`: two samples with the same hash are one and the same picture."""
    fault: str | None


def encode(picture: Image.Image | None, form: Format) -> Encoded:
    """A picture as a file's bytes; None stands for one with values that are not numbers."""
    if picture is None:
        return Encoded(b"", form.suffix, "", NOT_A_NUMBER)
    stream = io.BytesIO()
    picture.save(stream, form.pillow, **form.options)
    data = stream.getvalue()
    fault = ONE_COLOUR if is_blank(picture) else None
    return Encoded(data, form.suffix, hashlib.sha256(data).hexdigest(), fault)


def is_blank(picture: Image.Image) -> bool:
    """Whether a picture is of one colour, as broken models paint (black, or from NaN)."""
    ranges: Any = picture.convert("RGB").getextrema()
    return all(high - low <= BLANK for low, high in ranges)
