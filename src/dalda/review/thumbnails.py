"""Images for the review page, made small when they are first looked at, and kept in a cache.

What a browser gets is always drawn anew from the decoded image: no byte of a stranger's file, nor
what its metadata says, is passed on.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from PIL import Image

from dalda.errors import UserError
from dalda.storage.atomic import write_atomically

Size = Literal["small", "large"]
SIZES: tuple[Size, ...] = get_args(Size)
SIDES: dict[Size, int] = {"small": 192, "large": 768}
"""Longest side in pixels; twice what the page shows, for dense screens."""
EXACT = 96
"""Images up to this side are kept without loss, for the page enlarges them."""


@dataclass(frozen=True)
class Images:
    """Thumbnails by content, in a folder of the user's cache."""

    open_image: Callable[[Path], Image.Image]
    hash_file: Callable[[Path], str]
    cache: Path

    def state(self, path: Path, out: Path) -> str:
        """Differs for every file and change of it; refuses a file that a link leads out of `out`."""
        if not path.resolve().is_relative_to(out.resolve()):
            raise UserError(f"the image '{path.name}' lies outside the folder under review")
        found = path.stat()
        return f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"

    def sample(self, path: Path, out: Path, size: Size) -> tuple[bytes, str]:
        """A sample's image and its media type."""
        return self._drawn(path, self.state(path, out), size)

    def source(self, path: Path, sha256: str, size: Size) -> tuple[bytes, str]:
        """A source's image and its media type; refuses a file that is not the one the metadata means."""
        kept = self._kept(sha256, size)
        if kept is not None:
            return kept
        if self.hash_file(path) != sha256:
            raise UserError(f"the source '{path.name}' is not the image that the sample was made from")
        return self._drawn(path, sha256, size)

    def _drawn(self, path: Path, key: str, size: Size) -> tuple[bytes, str]:
        kept = self._kept(key, size)
        if kept is not None:
            return kept
        content, kind = shrunk(self.open_image(path), SIDES[size])
        place = self._place(key, size, kind)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, content, shared=True, sync=False)
        except OSError:
            pass  # a full or read-only cache makes the page slower, not wrong
        return content, f"image/{kind}"

    def _kept(self, key: str, size: Size) -> tuple[bytes, str] | None:
        for kind in ("png", "jpeg"):
            try:
                return self._place(key, size, kind).read_bytes(), f"image/{kind}"
            except OSError:
                continue
        return None

    def _place(self, key: str, size: Size, kind: str) -> Path:
        digest = hashlib.sha256(f"{key} {SIDES[size]}".encode()).hexdigest()
        return self.cache / digest[:2] / f"{digest}.{kind}"


def shrunk(image: Image.Image, side: int) -> tuple[bytes, str]:
    """A image of at most `side` pixels, encoded, and the name of its format."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    if max(small.size) <= EXACT:
        small.save(stream, format="PNG", compress_level=1)
        return stream.getvalue(), "png"
    small.save(stream, format="JPEG", quality=88)
    return stream.getvalue(), "jpeg"
