"""One process at a time in a folder of an object store: a lease, taken by a put that creates or fails.

A lease is an object with a number. Its holder writes it again every few seconds; one that stays the same
for longer is that of a process that is no more, and whoever creates the next number has it then.
"""

import os
import platform
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dalda.errors import UserError
from dalda.progress import say
from dalda.storage.failures import explained
from dalda.storage.object_store import READ_ONLY, StoredObject, object_at

PREFIX = ".dalda-lease-"
LEASE = re.compile(rf"{re.escape(PREFIX)}\d{{6,}}")
BEAT = 5.0
"""Seconds from one writing of a lease to the next."""
STALE = 20.0
"""Seconds after which a lease that stays the same is nobody's."""
PAUSE = 1.0
PATIENCE = 60.0
"""Seconds that writes wait for a lease whose renewal has no answer; then they find out for themselves."""
_held: dict[Path, "_Held"] = {}
"""By folder, the leases of this process."""


@contextmanager
def lease(folder: Path, busy: str, *, seconds: float = 0) -> Iterator[None]:
    """Raises UserError with the sentence `busy` where another process has the folder for longer."""
    if object_at(folder).scheme == READ_ONLY:
        raise UserError(f"'{folder}' is read-only here; name a folder, or s3://, gs:// or az:// with -o")
    held = _Held(folder)
    with explained(folder, "written"):
        held.number = _take(folder, held.content(), busy, seconds)
    held.renewed = time.monotonic()
    _held[folder] = held
    thread = threading.Thread(target=held.renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        del _held[folder]
        held.ended.set()
        thread.join()
        with suppress(OSError):
            held.release()


def refuse_lost(path: Path) -> None:
    """Raises UserError where another process has taken over the folder meanwhile.

    It may have as soon as a lease was not renewed for too long: a write waits until that is known.
    """
    holders = [held for folder, held in list(_held.items()) if path.is_relative_to(folder)]
    if any(held.is_lost_at_last() for held in holders):
        raise UserError(
            f"another process has taken over '{path.parent}', as this one did not answer; what is finished "
            "is kept, run the same command again when it has ended"
        )


def _take(folder: Path, own: bytes, busy: str, seconds: float) -> int:
    """The number of the lease that is ours now."""
    started = time.monotonic()
    since, before = started, (0, b"")
    while True:
        number, content = _latest(folder)
        now = time.monotonic()
        if (number, content) != before:
            if number and before[0] and now - started >= seconds:
                raise UserError(busy)
            since, before = now, (number, content)
        if not number or _ended(content) or now - since >= STALE:
            if object_at(folder / f"{PREFIX}{number + 1:06d}").create(own):
                if number:
                    with suppress(OSError):
                        object_at(folder / f"{PREFIX}{number:06d}").remove()
                return number + 1
        elif now - started < PAUSE:
            say(f"note: looking whether another process is at work in '{folder}'; up to {STALE:.0f} s")
        time.sleep(PAUSE)


def _latest(folder: Path) -> tuple[int, bytes]:
    """The highest number, 0 if there is no lease, and what it says: nothing if it went just now."""
    names = [entry.name for entry in object_at(folder).entries() if LEASE.fullmatch(entry.name)]
    if not names:
        return 0, b""
    number = int(names[-1].removeprefix(PREFIX))
    try:
        return number, object_at(folder / names[-1]).read()
    except FileNotFoundError:  # the next listing says what came of it
        return number, b""


def _ended(content: bytes) -> bool:
    """Whether it is of a process of this machine that is no more."""
    node, process = [*content.decode(errors="replace").split(" "), "", ""][:2]
    return node == platform.node() and is_gone(process)


def is_gone(process: str) -> bool:
    """Whether no process of this machine has that number any more."""
    if process.isdecimal():
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            pass
    return False


class _Held:
    """A lease of this process, renewed by a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.ended = folder, 0, threading.Event()
        self.lost, self.renewed = False, time.monotonic()
        self.owner = f"{platform.node()} {os.getpid()} {time.time_ns()} "

    def content(self) -> bytes:
        return f"{self.owner}{time.time_ns()}".encode()

    def _is_lost(self) -> bool:
        """Whether there is a higher number, or this one is gone, or another process's after a restart."""
        try:
            own = self._object().read().decode(errors="replace")
        except FileNotFoundError:
            return True
        return not own.startswith(self.owner) or _latest(self.folder)[0] > self.number

    def renew(self) -> None:
        while not self.ended.wait(BEAT):
            with suppress(OSError):  # a store that does not answer now may do so at the next beat
                if self._is_lost():
                    self.lost = True
                    return
                now = time.monotonic()
                self._object().write(self.content())
                self.renewed = now

    def release(self) -> None:
        if not self.lost:
            self._object().remove()

    def is_lost_at_last(self) -> bool:
        """Whether another process has it; waits while that may be so, but is not known."""
        started = time.monotonic()
        while (
            not self.lost and (now := time.monotonic()) - self.renewed >= STALE and now - started < PATIENCE
        ):
            time.sleep(PAUSE)
        return self.lost

    def _object(self) -> StoredObject:
        return object_at(self.folder / f"{PREFIX}{self.number:06d}")
