"""One process at a time, by a lock file that ends with the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalda.errors import UserError


@contextmanager
def alone(lock: Path, busy: str, *, seconds: float = 0) -> Iterator[None]:
    """Holds the lock file. Raises UserError, saying `busy`, where another has it longer than `seconds`."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, timeout=seconds):
            yield
    except Timeout:
        raise UserError(busy) from None
