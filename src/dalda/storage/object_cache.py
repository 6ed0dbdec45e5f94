"""Files of object stores that were read, on this disk, up to a limit; those read longest ago go first."""

import hashlib
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from dalda.storage.object_store import object_at

LIMIT = 10 * 2**30
"""Bytes of all files together."""
LARGEST = LIMIT // 10
SWEEP = 256
"""New files after which what is too much is removed."""
_new: list[str] = []


def open_object(address: Path) -> BytesIO:
    """An object's bytes; from the cache while the store says that its content is the same."""
    from dalda.cache import cache_folder

    stored = object_at(address)
    entry = stored.entry()
    if entry is None or entry.is_folder:
        raise IsADirectoryError(0, "it is a folder") if entry else FileNotFoundError()
    if entry.version is None or entry.size > LARGEST:
        return BytesIO(stored.read())
    key = hashlib.sha256(f"{address} {entry.version} {entry.size}".encode()).hexdigest()
    path = cache_folder("objects") / key
    with suppress(OSError):
        data = path.read_bytes()
        if len(data) == entry.size:
            os.utime(path)
            return BytesIO(data)
    data = stored.read()
    if len(data) == entry.size:  # else it has changed in this very moment
        _keep(path, data)
    return BytesIO(data)


def _keep(path: Path, data: bytes) -> None:
    """A cache that cannot be written is none, and no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(data)
        os.replace(partial, path)
        _new.append(path.name)
        if len(_new) % SWEEP == 1:
            sweep(path.parent)


def sweep(folder: Path, limit: int = LIMIT) -> None:
    """Removes what was read longest ago until the rest is within the limit."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                state = entry.stat(follow_symlinks=False)
                files.append((state.st_mtime_ns, state.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit:
            return
        with suppress(OSError):
            os.unlink(path)
        total -= size
