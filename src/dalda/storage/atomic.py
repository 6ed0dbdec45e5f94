"""A file is whole or not there: written beside its place, brought to the disk, then renamed."""

import os
import threading
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes | str, *, shared: bool = False, sync: bool = True) -> None:
    """Puts `content` (text as UTF-8) at `path`; a stop anywhere leaves what was there before, or all of it.

    A stop may leave `unfinished(path)` behind, which the next write to `path` takes over. Where several
    threads or processes may write one file at a time (`shared`), each has an unfinished file of its own.
    Without `sync` it may be lost in a power cut, which is right for what is easily made again.
    Raises OSError, and then leaves nothing behind.
    """
    partial = unfinished(path)
    if shared:
        partial = partial.with_suffix(f".{os.getpid()}-{threading.get_native_id()}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        with partial.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def unfinished(path: Path) -> Path:
    """The name, hidden and in the same folder, that a file has until it is whole."""
    return path.with_name(f".{path.name}.partial")
