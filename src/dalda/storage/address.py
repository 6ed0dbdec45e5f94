"""Addresses of object stores (`s3://bucket/more`) as paths, so that all code names files in one way."""

import fnmatch
import os
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from dalda.errors import UserError
from dalda.storage.failures import explained, failure
from dalda.storage.object_store import SCHEMES, Entry, object_at, scheme_of

_Base = type(Path())


class Address(_Base):  # type: ignore[misc, valid-type]
    """A path in an object store. What asks the system for it gets a UserError: it is on no disk.

    A store has no folders of its own; one is there when something lies in it.
    """

    entry: Entry | None = None
    """What the listing that it comes from has of it."""

    def __str__(self) -> str:
        scheme, *rest = self.parts or ("",)
        return f"{scheme}//{'/'.join(rest)}" if scheme.endswith(":") else "/".join(self.parts)

    def __fspath__(self) -> NoReturn:
        raise UserError(
            f"'{self}' lies in an object store, and a folder or file of a disk is needed here; name one, "
            "and copy between the two"
        )

    def __reduce__(self) -> tuple[type["Address"], tuple[str]]:
        return type(self), (str(self),)

    def as_posix(self) -> str:
        return str(self)

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> "Address":
        return self

    def expanduser(self) -> "Address":
        return self

    def resolve(self, strict: bool = False) -> "Address":
        scheme, *rest = self.parts
        return type(self)(f"{scheme}//{posixpath.normpath('/' + '/'.join(rest)).lstrip('/')}")

    def _entry(self) -> Entry | None:
        with explained(self, "read"):
            return self.entry or object_at(self).entry()

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self._entry() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        entry = self._entry()
        return entry is not None and not entry.is_folder

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        entry = self._entry()
        return entry is not None and entry.is_folder

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        entry = self._entry()
        if entry is None:
            raise failure(self, "read", FileNotFoundError())
        mode = stat.S_IFDIR if entry.is_folder else stat.S_IFREG
        return os.stat_result((mode, 0, 0, 1, 0, 0, entry.size, 0, 0, 0), {"st_mtime_ns": 0})

    def lstat(self) -> os.stat_result:
        return self.stat()

    def iterdir(self) -> Iterator["Address"]:
        with explained(self, "read"):
            entries = object_at(self).entries()
        for entry in entries:
            path = self / entry.name
            path.entry = entry
            yield path

    def files(self) -> Iterator[tuple[str, "Address"]]:
        """Every object below, with its name from here, by one listing."""
        with explained(self, "read"):
            sizes = object_at(self).sizes()
        for name, size in sizes.items():
            path = self / name
            path.entry = Entry(path.name, False, size, None)
            yield name, path

    def glob(self, pattern: str, **_: object) -> Iterator["Address"]:
        """Of `*` and names only, as `*.json` or `synthetic/*/`."""
        first, _slash, rest = pattern.partition("/")
        for path in sorted(self.iterdir()):
            if fnmatch.fnmatchcase(path.name, first) and (not _slash or path.is_dir()):
                yield from path.glob(rest) if rest else (path,)


def path_of(text: str | Path) -> Path:
    """A path, of a disk or of an object store. Raises UserError for an address that cannot be used."""
    if isinstance(text, Path):
        return text
    scheme = scheme_of(text)
    if scheme is None:
        first, _, rest = text.partition(":/")
        if first in SCHEMES:  # what is generated would lie in a folder of this disk
            raise UserError(f"the address '{text}' lacks a slash; write {first}://{rest}")
        return Path(text)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES if name != "memory")
        raise UserError(
            f"the address '{text}' cannot be used; name a folder, or one that begins with {known}"
        )
    if not text.partition("://")[2].strip("/"):
        raise UserError(f"the address '{text}' names no bucket; write {scheme}://BUCKET/NAME")
    return Address(text)
