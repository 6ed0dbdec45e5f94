"""Image files come from strangers: each is opened here, and becomes plain RGB or one clear sentence."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dalda.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
)

MAX_PIXELS = 200_000_000
"""600 MB as RGB: above any camera's image, below what a small machine holds."""

# Pillow only warns above its own bound (89 million pixels) and refuses at twice it.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

REMEDY = "replace it or take it out of the folder"

SMALLEST_SIDE = 8
"""Pixels; below this there is nothing to see."""
LONGEST_STRIP = 16
"""Times its width a image may be long: a model's square of a longer one, and its copies, show nothing."""
DECODERS = 4
"""Images to look at at a time: a large one takes hundreds of megabytes while it is decoded."""
LARGEST_SIDE = 2048
"""Pixels of a source in memory: four times what common models read, so that batches of them fit."""


def open_image(path: Path) -> Image.Image:
    """The image in a file, upright, as 8-bit RGB; of an animation, the first frame.

    EXIF orientation is applied, transparency laid on white, grey and 16-bit values scaled to 0..255.
    Raises UserError, with the path and the reason, for what is not a whole image in one of FORMATS.
    """
    try:
        _refuse_devices(path)
        if path.stat().st_size == 0:
            raise UserError(f"{path} is an empty file: {REMEDY}")
        with Image.open(path, formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise UserError(_too_large(path))
            opened.load()
            return _as_rgb(ImageOps.exif_transpose(opened))
    except UserError:
        raise
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise UserError(f"{path} is not a image in a known format ({known}): {REMEDY}") from error
    except Image.DecompressionBombError as error:
        raise UserError(_too_large(path)) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {REMEDY}") from error
    except Exception as error:  # a decoder fed broken bytes raises anything, SyntaxError and KeyError too
        raise UserError(f"{path} is a broken image ({error}): {REMEDY}") from error


def check_image(path: Path) -> None:
    """Decodes a file to its last byte; raises UserError as `open_image` does."""
    open_image(path)


def check_source(path: Path) -> None:
    """Raises UserError for what is no whole image, and for one that no new images can be made from."""
    sides = open_image(path).size
    written = f"{path} is {sides[0]} x {sides[1]} pixels"
    if min(sides) < SMALLEST_SIDE:
        raise UserError(f"{written}, too small for new images (at least {SMALLEST_SIDE}): {REMEDY}")
    if max(sides) > LONGEST_STRIP * min(sides):
        raise UserError(f"{written}, too long a strip for new images: cut it, or {REMEDY}")


def open_source(path: Path) -> Image.Image:
    """The image in a file as `open_image` gives it, shrunk to at most LARGEST_SIDE."""
    image = open_image(path)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return image


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal. Raises UserError for one that cannot be read."""
    try:
        _refuse_devices(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {REMEDY}") from error


def _refuse_devices(path: Path) -> None:
    """Nothing that may never end, such as a pipe; folders are refused by the attempt to read them."""
    if not (path.is_file() or path.is_dir()) and path.exists():
        raise UserError(f"{path} is not a file that can be read to its end: {REMEDY}")


def _too_large(path: Path) -> str:
    return f"{path} is larger than {MAX_PIXELS // 1_000_000} million pixels: make it smaller, or {REMEDY}"


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Integers count to 65535, floats to 1 (or to their maximum); Pillow's `convert` would cut at 255."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=1.0, neginf=0.0)
    full = 65535.0 if image.mode.startswith("I") else max(1.0, float(values.max()))
    grey = (values / full).clip(0, 1) * 255
    return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
