"""Folders that are whole or not there, links to large files, and files that are written in pieces."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from dalda.storage.address import Address
from dalda.storage.failures import already_there, explained, linked
from dalda.storage.files import (
    APPEND,
    NEW,
    READ,
    list_folder,
    make_folder,
    refuse_links,
    unfinished,
    write_new,
)
from dalda.storage.lock import lock
from dalda.storage.readers import read_bytes


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder that is renamed to `out` at the end of the block; a failure leaves nothing.

    What an earlier stop left of it is removed first. Raises StorageError where `out` holds something.
    """
    os.fspath(out)  # an address is refused: a store renames nothing
    partial = unfinished(out)
    make_folder(out.parent)
    for path in (partial, out):
        if path.is_symlink():
            raise linked(path)
    if out.exists() and (out.is_file() or list_folder(out)):  # at once, and not after the work
        raise already_there(out)
    make_folder(partial)
    with lock(partial, f"another process is writing '{out}'; wait for it, or choose another place"):
        try:
            _empty(partial)  # of what an earlier stop left
            yield partial
            with explained(out, "written"):
                if out.is_dir():
                    os.rmdir(out)
                os.rename(partial, out)
        except BaseException:
            # Not after the renaming: what has that name then is another process's.
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _empty(folder: Path) -> None:
    with explained(folder, "removed"):
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def link_or_copy(source: Path, target: Path, *, root: Path) -> bool:
    """Puts a file at a new name below `root`: a hard link (True) where the disk allows it, else a copy."""
    make_folder(target.parent, root=root)
    if isinstance(source, Address):
        write_new(target, read_bytes(source, limit=None), root=root)
        return False
    with explained(target, "written"):
        try:
            os.link(source.resolve() if source.is_symlink() else source, target)
            return True
        except FileExistsError:
            raise
        except OSError:
            with open(os.open(source, READ), "rb") as old, open_new(target, root=root) as new:
                shutil.copyfileobj(old, new)
            return False


def open_new(path: Path, *, root: Path) -> BinaryIO:
    """A new file below `root` to write in pieces; for use within `whole_folder`."""
    make_folder(path.parent, root=root)
    with explained(path, "written"):
        return os.fdopen(os.open(path, NEW, 0o666), "wb")


def open_append(path: Path, *, keep: bool = True) -> BinaryIO:
    """An unfinished file of dalda's own, to append to or (without `keep`) to begin again."""
    make_folder(path.parent)
    with explained(path, "written"):
        if not keep:
            with suppress(FileNotFoundError):
                os.unlink(path)
        return os.fdopen(os.open(path, APPEND, 0o666), "ab")


def move(source: Path, target: Path, *, root: Path | None = None) -> None:
    """Gives a finished file its name; a link there is refused."""
    refuse_links(target.parent, root)
    with explained(target, "written"):
        if target.is_symlink():
            raise linked(target)
        os.replace(source, target)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder that only this user can read, below `parent`; it is removed at the end of the block."""
    make_folder(parent)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


@cache
def private_folder(name: str) -> Path:
    """This user's folder among the temporary files; a new one where somebody else has taken its name."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"{name}-{user}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    state = folder.lstat()
    own = state.st_uid == user and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if stat.S_ISDIR(state.st_mode) and (own or os.name != "posix"):
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{name}-"))
