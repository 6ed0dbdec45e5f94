"""Atomic writes: a file is whole or not there, and nothing is reached through a link.

A file is written under a hidden name in its folder, brought to the disk, and renamed. A link that
somebody planted under a name that dalda writes is refused, never followed.
"""

import errno
import hashlib
import os
import platform
import re
import stat
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from io import BufferedReader, BytesIO
from pathlib import Path

from dalda.storage.address import Address, path_of
from dalda.storage.failures import Place, StorageError, already_there, explained, failure, linked
from dalda.storage.lease import is_gone, refuse_lost
from dalda.storage.object_cache import open_object
from dalda.storage.object_store import StoredObject, object_at

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def stored_object(place: Place) -> StoredObject | None:
    """What an address names; None of a path of a disk. Raises UserError for an unknown store."""
    path = path_of(place)
    return object_at(path) if isinstance(path, Address) else None


def unfinished(path: Path) -> Path:
    """The name, hidden and in the same folder, that a file has until it is whole."""
    return path.with_name(f".{path.name}.partial")


def write(
    place: Place, data: bytes | str, *, sync: bool = True, shared: bool = False, root: Path | None = None
) -> None:
    """Puts data (text as UTF-8) at a place; a stop anywhere leaves what was there before, or all of it.

    A stop may leave `unfinished(path)` behind, which the next write takes over. Where several threads or
    processes may write one file at a time (`shared`), each has an unfinished file of its own. Without
    `sync` the file may be lost in a power cut, which is right for what is easily made again. No folder
    between `root` and the file may be a link. Raises StorageError, and then leaves nothing behind.
    """
    _put(place, data, sync=sync, shared=shared, root=root, replace=True)


def write_new(place: Place, data: bytes | str, *, root: Path | None = None) -> None:
    """The same for a new file, with its folder; where the very same content is there already, all is well.

    Raises StorageError where something else is there: nothing is overwritten.
    """
    content = data.encode() if isinstance(data, str) else data
    if exists(place):
        with suppress(StorageError), open_binary(place) as file:
            if file.read(len(content) + 1) == content:
                if stored_object(place) is None:
                    _unfinished_of_mine(Path(place))  # a stop may have come just after the renaming
                return
        raise already_there(place)
    make_folder(path_of(place).parent, root=root)
    _put(place, content, sync=True, shared=True, root=root, replace=False)


def _unfinished_of_mine(path: Path) -> Path:
    """An unfinished file of this thread alone; those of processes that are no more are removed."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    _sweep(path.parent, machine)
    own = f"{machine}-{os.getpid()}-{threading.get_native_id()}"
    return unfinished(path).with_suffix(f".{own}.partial")


@cache
def _sweep(folder: Path, machine: str) -> None:
    """Removes the unfinished files of processes that are no more; once, for a listing may be long."""
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(folder)
    for name in names:
        left = re.fullmatch(rf"\..+\.{machine}-(\d+)-\d+\.partial", name)
        if left and is_gone(left[1]) and not (folder / name).is_symlink():
            remove(folder / name)


def _put(
    place: Place, data: bytes | str, *, sync: bool, shared: bool, root: Path | None, replace: bool
) -> None:
    content = data.encode() if isinstance(data, str) else data
    store = stored_object(place)
    if store is not None:
        refuse_lost(path_of(place))
        with explained(place, "written"):
            store.write(content)  # an object is whole or not there
        return
    path = Path(place)
    refuse_links(path.parent, root)
    partial = _unfinished_of_mine(path) if shared else unfinished(path)
    with explained(path, "written"):
        if path.is_symlink():
            raise linked(path)
        _clear(partial)
        try:
            _create(partial, content, sync)
            if replace:
                os.replace(partial, path)
            else:
                _rename_new(partial, path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def write_all(files: Mapping[Path, bytes], *, root: Path) -> None:
    """Writes several files below `root` with their folders, each whole or not there; to a store at once."""
    store = stored_object(root)
    if store is not None:
        refuse_lost(root)
        with explained(root, "written"):
            store.write_all({object_at(path).path: data for path, data in files.items()})
        return
    for path, data in files.items():
        make_folder(path.parent, root=root)
        write(path, data, root=root)


def _clear(partial: Path) -> None:
    """Removes what an earlier stop left. Only a plain file can be that."""
    try:
        mode = partial.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise linked(partial)
    partial.unlink()


def _create(path: Path, content: bytes, sync: bool) -> None:
    with os.fdopen(os.open(path, NEW, 0o666), "wb") as file:
        file.write(content)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _rename_new(partial: Path, path: Path) -> None:
    """Renames without ever replacing; some file systems have no hard links, and there is a short gap."""
    try:
        os.link(partial, path)
        partial.unlink()
    except FileExistsError:
        raise already_there(path) from None
    except OSError:
        if path.exists():
            raise already_there(path) from None
        os.replace(partial, path)


def refuse_links(folder: Path, root: Path | None) -> None:
    """Raises StorageError where a folder below `root`, down to `folder`, is a link."""
    while root is not None and folder != root and folder != folder.parent:
        if folder.is_symlink():
            raise linked(folder)
        folder = folder.parent


def make_folder(place: Place, *, root: Path | None = None) -> None:
    """Makes a folder with its parents, unless it is there. Links are refused below `root`."""
    if stored_object(place) is not None:
        return
    refuse_links(Path(place), root)
    with explained(place, "made"):
        Path(place).mkdir(parents=True, exist_ok=True)


def append_lines(place: Place, lines: Iterable[str], *, root: Path | None = None) -> None:
    """Adds lines, on the disk when this returns; adds nothing where it raises StorageError."""
    data = "".join(line + "\n" for line in lines).encode()
    store = stored_object(place)
    if store is not None:  # for files of few lines; see jsonl.py
        with explained(place, "written"):
            before = store.read() if store.entry() else b""
        write(place, before + data)
        return
    refuse_links(Path(place).parent, root)
    with explained(place, "written"), open(os.open(place, APPEND, 0o666), "ab", buffering=0) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise failure(place, "written", OSError(errno.EISDIR, "no plain file"))
        if state.st_nlink > 1:  # another name of the same file, in a backup or elsewhere, stays as it is
            with open_binary(place) as linked_file:
                write(place, linked_file.read() + data)
            return
        try:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            os.fsync(file.fileno())
        except BaseException:
            # A full disk takes part of a line; what is added after it must not be joined to it.
            with suppress(OSError):
                file.truncate(state.st_size)
            raise


def open_binary(place: Place) -> BufferedReader | BytesIO:
    """A plain file to read; a pipe or a device is refused, not waited for."""
    path = path_of(place)
    with explained(place, "read"):
        if isinstance(path, Address):
            return open_object(path)
        handle = os.open(place, READ)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            folder = Path(place).is_dir()
            raise failure(place, "read", OSError(errno.EISDIR if folder else 0, "it is no plain file"))
        return os.fdopen(handle, "rb")


def exists(place: Place) -> bool:
    """Whether something, a broken link too, has that name."""
    path = path_of(place)
    return path.exists() if isinstance(path, Address) else os.path.lexists(path)


def list_folder(place: Place) -> list[str]:
    """The names in a folder, sorted; of no folder none."""
    store = stored_object(place)
    with explained(place, "read"):
        if store is not None:
            return [entry.name for entry in store.entries()]
        try:
            return sorted(os.listdir(place))
        except FileNotFoundError:
            return []


def remove_empty(folder: Path) -> None:
    """Removes a folder that holds nothing."""
    with suppress(OSError):
        os.rmdir(folder)


def remove(place: Place) -> None:
    """Removes a file of dalda's own, if it is there; of a link the link alone."""
    store = stored_object(place)
    with explained(place, "removed"), suppress(FileNotFoundError):
        os.unlink(place) if store is None else store.remove()
