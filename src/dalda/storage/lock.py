"""One process at a time in a folder, by a lock that ends with the process."""

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from dalda.errors import UserError
from dalda.storage.address import Address
from dalda.storage.failures import explained
from dalda.storage.lease import lease

PAUSE = 0.05


@contextmanager
def lock(folder: Path, busy: str, *, seconds: float = 0, shared: bool = False) -> Iterator[None]:
    """A lock on a folder (or a file) itself: no lock file may lie in it, for it may be a data set.

    Several processes may have a `shared` one together. Raises UserError with the sentence `busy` where
    another process has it for longer than `seconds`.
    """
    if isinstance(folder, Address):
        # Shards of a store exclude each other by the leases of their own parts.
        with nullcontext() if shared else lease(folder, busy, seconds=seconds):
            yield
        return
    try:
        import fcntl
    except ImportError:
        # A file lock is never shared: there, shards are for folders of their own.
        with _locked_by_file(folder, busy, seconds):
            yield
        return
    with explained(folder, "used"):
        handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except OSError as error:
                # Some network file systems lock no folders; that is no reason not to work there.
                if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                    break
            if time.monotonic() >= end:
                raise UserError(busy)
            time.sleep(PAUSE)
        yield
    finally:
        os.close(handle)


@contextmanager
def _locked_by_file(folder: Path, busy: str, seconds: float) -> Iterator[None]:
    """The same by a file among the temporary ones, where the system locks no folders."""
    from filelock import FileLock, Timeout

    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:20]
    try:
        with FileLock(Path(tempfile.gettempdir()) / f"dalda-{name}.lock", timeout=seconds):
            yield
    except Timeout:
        raise UserError(busy) from None
