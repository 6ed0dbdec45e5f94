"""A generated image as the bytes of a file, and whether it is valid."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    b"Iptc4xmpExt:DigitalSourceType="
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
"""The mark of AI-generated images, in every file (IPTC Photo Metadata, Digital Source Type)."""
BLANK = 2
"""An image whose values all lie within this range is of one colour."""
NOT_A_NUMBER = "not a number"
ONE_COLOUR = "of one colour"
REPEATED = "the same as another image"


@dataclass(frozen=True)
class Format:
    """How images are written."""

    suffix: str
    pillow: str
    options: Mapping[str, Any]


def _png_mark() -> PngInfo:
    mark = PngInfo()
    mark.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return mark


FORMATS = {
    # A fast level: the disk is cheaper than the time.
    "png": Format(".png", "PNG", {"compress_level": 1, "pnginfo": _png_mark()}),
    "webp": Format(".webp", "WEBP", {"quality": 95, "method": 2, "xmp": XMP}),
    "jpeg": Format(".jpg", "JPEG", {"quality": 95, "subsampling": 0, "xmp": XMP}),
}


@dataclass(frozen=True)
class EncodedImage:
    """An image file's bytes."""

    data: bytes
    suffix: str
    sha256: str
    """Of `data`: two images with the same hash are one and the same."""
    invalid: str | None = None
    """Why the image is invalid; None for a valid one."""
    stored: int = 0
    """Bytes of the file that a worker has stored already, of which `data` has none."""


def encode(image: Image.Image | None, form: Format) -> EncodedImage:
    """An image as a file's bytes; None stands for one with values that are not numbers."""
    if image is None:
        return EncodedImage(b"", form.suffix, "", NOT_A_NUMBER)
    stream = io.BytesIO()
    image.save(stream, form.pillow, **form.options)
    data = stream.getvalue()
    invalid = ONE_COLOUR if is_blank(image) else None
    return EncodedImage(data, form.suffix, hashlib.sha256(data).hexdigest(), invalid)


def is_blank(image: Image.Image) -> bool:
    """Whether an image is of one colour, as broken models generate (black, or from NaN)."""
    ranges: Any = image.convert("RGB").getextrema()
    return all(high - low <= BLANK for low, high in ranges)
