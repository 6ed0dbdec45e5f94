"""Image files are strangers' data: each becomes plain RGB within a memory budget, or one clear sentence."""

import hashlib
import io
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dalda.errors import UserError
from dalda.storage import open_binary

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)
MAX_PIXELS = 200_000_000
"""600 MB as RGB: above any camera's image, below what a small machine holds."""
MAX_BYTES = 2**30
MAX_DECODING = 60_000_000
"""Pixels that all threads together decode at a time; a larger image is decoded alone."""
SMALLEST_SIDE = 8
"""Pixels; below this there is nothing to see."""
LONGEST_STRIP = 16
"""The largest ratio of an image's sides: a model's square crop of a longer one shows too little."""
DECODERS = 4
"""Images to check at a time."""
LARGEST_SIDE = 2048
"""Pixels of a source in memory: four times what common models read, so that batches of them fit."""
SIGNATURE_SIDE = 16
REMEDY = "replace it or take it out of the folder"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
"""Chunks that change no pixel; whole workflows may lie in them, and Pillow reads up to a limit only."""

# Pillow only warns above its own bound (89 million pixels) and refuses at twice it.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class _Budget:
    """Lets threads work on as many pixels together as fit."""

    def __init__(self, total: int) -> None:
        self.total = self.free = total
        self.changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        share = min(pixels, self.total)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= share)
            self.free -= share
        try:
            yield
        finally:
            with self.changed:
                self.free += share
                self.changed.notify_all()


_decoding = _Budget(MAX_DECODING)


def open_image(
    path: Path, *, sha256: str | None = None, shorter: int | None = None, longer: int | None = None
) -> Image.Image:
    """The image in a file, upright, as 8-bit RGB; of an animation, the first frame.

    EXIF orientation is applied, transparency laid on white, grey and 16-bit values scaled to 0..255. With
    `shorter` (or `longer`) a large image is decoded small, that side still at least so many pixels. The
    bytes are read once: with `sha256` these very bytes must have that hash. Raises UserError, with the path
    and the reason, for what is not a whole image in one of FORMATS, or another one than expected.
    """
    return _decoded(path, sha256, shorter, longer)[0]


def _decoded(
    path: Path, sha256: str | None, shorter: int | None = None, longer: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """The image, and the width and height that the file says."""
    data = read_file(path)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path} has changed since this command began: run it again")
    try:
        with Image.open(io.BytesIO(_without_text(data)), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise UserError(_too_large(path))
            side, wanted = (max(width, height), longer) if longer else (min(width, height), shorter or 0)
            factor = side // wanted if wanted else 1
            if factor > 1:
                opened.draft("RGB", (width // factor, height // factor))  # JPEG only: decodes a part of it
            with _decoding.of(opened.width * opened.height):
                opened.load()
                ImageOps.exif_transpose(opened, in_place=True)
                rgb = _as_rgb(opened)
                factor = factor * min(rgb.size) // min(width, height)  # what the draft has left to do
                return rgb.reduce(factor) if factor > 1 else rgb, (width, height)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise UserError(f"{path} is not an image in a known format ({known}): {REMEDY}") from error
    except Image.DecompressionBombError as error:
        raise UserError(_too_large(path)) from error
    except MemoryError as error:
        raise UserError(
            f"there is not enough memory to decode {path}: free some, or make it smaller"
        ) from error
    except Exception as error:  # a decoder fed broken bytes raises anything, SyntaxError and KeyError too
        raise UserError(f"{path} is a broken image ({error}): {REMEDY}") from error


def read_file(path: Path) -> bytes:
    """A file's bytes. Raises UserError for one that is empty, too large or cannot be read to its end."""
    try:
        with open_binary(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {REMEDY}") from error
    if not data:
        raise UserError(f"{path} is an empty file: {REMEDY}")
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 2**20} MB: make it smaller, or {REMEDY}")
    return data


def check_image(path: Path, sha256: str | None = None) -> bytes:
    """Decodes a file to its last byte; its signature: SIGNATURE_SIDE**2 RGB pixels that show it small.

    Raises UserError as `open_image` does.
    """
    return _signature(_decoded(path, sha256, shorter=4 * SIGNATURE_SIDE)[0])


def _signature(image: Image.Image) -> bytes:
    return image.resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX).tobytes()


def check_source(path: Path, sha256: str | None = None) -> bytes:
    """The same; also raises UserError for an image that no new images can be made from."""
    image, sides = _decoded(path, sha256, shorter=4 * SIGNATURE_SIDE)
    written = f"{path} is {sides[0]} x {sides[1]} pixels"
    if min(sides) < SMALLEST_SIDE:
        raise UserError(f"{written}, too small for new images (at least {SMALLEST_SIDE}): {REMEDY}")
    if max(sides) > LONGEST_STRIP * min(sides):
        raise UserError(f"{written}, too long a strip for new images: cut it, or {REMEDY}")
    return _signature(image)


def sides_of(path: Path, *, upright: bool = False) -> tuple[int, int]:
    """Width and height in pixels as stored, or as `open_image` turns it. For files that it accepts."""
    with Image.open(io.BytesIO(_without_text(read_file(path))), formats=FORMATS) as opened:
        lies = upright and opened.getexif().get(ExifTags.Base.Orientation, 1) in range(5, 9)
        return (opened.height, opened.width) if lies else opened.size


def open_source(path: Path, sha256: str | None = None) -> Image.Image:
    """The image in a file as `open_image` gives it, shrunk to at most LARGEST_SIDE."""
    image = open_image(path, sha256=sha256, longer=LARGEST_SIDE)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return image


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal. Raises UserError for one that cannot be read."""
    try:
        with open_binary(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {REMEDY}") from error


def _too_large(path: Path) -> str:
    return f"{path} is larger than {MAX_PIXELS // 1_000_000} million pixels: make it smaller, or {REMEDY}"


def _without_text(data: bytes) -> bytes:
    """A PNG without its texts and profile, but for those that may say which side is up."""
    if not data.startswith(PNG_MAGIC) or not any(kind in data for kind in PNG_TEXT):
        return data
    chunks, start = [PNG_MAGIC], len(PNG_MAGIC)
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] not in PNG_TEXT or _may_orient(data[start + 8 : end - 4]):
            chunks.append(data[start:end])
        start = end
    return b"".join(chunks)


def _may_orient(content: bytes) -> bool:
    keyword, _, packed = content.partition(b"\0")
    if keyword == b"XML:com.adobe.xmp":
        return packed.startswith(b"\0") and len(packed) < 1_000_000
    if keyword != b"Raw profile type exif":
        return False
    try:
        return len(zlib.decompressobj().decompress(packed[1:], 100_000)) < 100_000
    except zlib.error:
        return False


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Integers count to 65535, floats to 1 (or to their maximum); Pillow's `convert` would cut at 255."""
    values = np.asarray(image)
    full = 65535.0
    if not image.mode.startswith("I"):
        full = max(1.0, float(np.max(values, where=np.isfinite(values), initial=0.0)))
    grey = np.empty(values.shape, np.uint8)
    # A few rows at a time: double precision takes eight times more.
    for start in range(0, len(values), 256):
        rows = np.nan_to_num(values[start : start + 256].astype(np.float64), posinf=1.0, neginf=0.0)
        grey[start : start + 256] = ((rows / full).clip(0, 1) * 255).round()
    return Image.fromarray(grey).convert("RGB")
