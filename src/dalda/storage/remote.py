"""Addresses of object stores (`s3://bucket/name`, `memory://name`), by fsspec."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dalda.errors import UserError, first_line


@dataclass(frozen=True)
class Remote:
    """One object, or a folder of objects, of a store."""

    store: Any
    path: str

    def read(self) -> bytes:
        return bytes(self.store.cat_file(self.path))

    def write(self, data: bytes) -> None:
        self.store.pipe_file(self.path, data)

    def open(self) -> BinaryIO:
        opened: BinaryIO = self.store.open(self.path, "rb")
        return opened

    def exists(self) -> bool:
        return bool(self.store.exists(self.path))

    def names(self) -> list[str]:
        if not self.store.isdir(self.path):
            return []
        return sorted(
            name.rstrip("/").rpartition("/")[2] for name in self.store.ls(self.path, detail=False)
        )


def remote(place: Path | str) -> Remote | None:
    """The store and path of an address; None of a local path. Raises UserError for an unknown store."""
    if not isinstance(place, str) or "://" not in place:
        return None
    from fsspec.core import url_to_fs

    try:
        return Remote(*url_to_fs(place))
    except (ImportError, ValueError) as error:
        raise UserError(
            f"the address '{place}' cannot be used ({first_line(error)}); name a folder"
        ) from None
