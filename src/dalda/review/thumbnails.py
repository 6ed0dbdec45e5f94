"""Thumbnails for the review page, made when an image is first shown, and cached.

What a browser gets is encoded from the decoded image: no byte of a stranger's file is passed on.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dalda.datasets.image_io import open_image, sha256_of
from dalda.errors import UserError
from dalda.reporting.thumbnails import thumbnail
from dalda.storage import make_folder, read_bytes, write

Size = Literal["small", "large"]
SIDES: dict[Size, int] = {"small": 192, "large": 768}
"""Longest side in pixels: twice what the page shows, for dense screens."""
LOSSLESS_SIDE = 96
"""Images up to this side are kept without loss, because the page enlarges them."""


@dataclass(frozen=True)
class Thumbnails:
    """WebP thumbnails in a folder of the user's cache, named by what they were made from."""

    cache: Path

    def version(self, path: Path, out: Path) -> str:
        """Differs for every file and every change of it; refuses a link that leads out of `out`."""
        if not path.resolve().is_relative_to(out.resolve()):
            raise UserError(f"the image '{path.name}' lies outside the folder under review")
        state = path.stat()
        return hashlib.sha256(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()

    def source(self, path: Path, sha256: str, size: Size) -> bytes:
        """The thumbnail of a source image; refuses a file that is not the one of the metadata."""

        def checked() -> Path:
            if sha256_of(path) != sha256:
                raise UserError(f"the source image '{path.name}' is not the one that the metadata names")
            return path

        return self.of(sha256, size, checked)

    def of(self, key: str, size: Size, original: Callable[[], Path]) -> bytes:
        """The thumbnail of the file that `original` finds; `key` is that of its content."""
        digest = hashlib.sha256(f"{key} {SIDES[size]}".encode()).hexdigest()
        file = self.cache / digest[:2] / f"{digest}.webp"
        with suppress(OSError):
            return read_bytes(file)
        content = thumbnail(
            open_image(original()), SIDES[size], lossless_side=LOSSLESS_SIDE, quality=85
        ).webp
        with suppress(OSError):  # a full or read-only cache makes the page slower, not wrong
            make_folder(file.parent)
            write(file, content, shared=True, sync=False)
        return content
