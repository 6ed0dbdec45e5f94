"""One process at a time in a synthetic folder, in which no lock file may lie: it is a data set."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalda.errors import UserError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """A lock on the folder itself, which ends with the process; none where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems lock no folders; that is no reason not to work there.
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise UserError(
                    f"another process is adding to '{folder}'; wait for it, or choose another with -o"
                ) from None
        yield
    finally:
        os.close(handle)
