"""Progress of long work: a bar on a terminal, plain lines of the logger `dalda` elsewhere, or a callback.

Everything goes to stderr. `quiet()` silences it; in a notebook, `on_progress(callback)` is called
with a label, the finished and the total number of items.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from dalda.terminal import printable

PLAIN_SECONDS = 15.0
LOGGER = logging.getLogger("dalda")
LOGGER.addHandler(logging.NullHandler())
OnProgress = Callable[[str, int, int], None]
_callbacks: list[OnProgress] = []


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the stderr of the moment, which a test or a notebook may replace."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_HANDLER = _Stderr()
_HANDLER.setFormatter(logging.Formatter("%(message)s"))


def say(line: str) -> None:
    """One line for the person at the terminal: an INFO record of the logger `dalda`."""
    show_log()
    LOGGER.info("%s", printable(line))


@cache
def note(line: str) -> None:
    """A remark for the person at the terminal, once in a process: a data set may be read several times."""
    say(f"note: {line}")


def show_log() -> None:
    """Shows the records of the logger `dalda` on stderr, unless the program has set its own level."""
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    if _HANDLER not in LOGGER.handlers:
        LOGGER.addHandler(_HANDLER)


def quiet() -> None:
    """Silences progress and notes; errors and results still come."""
    LOGGER.setLevel(logging.WARNING)


@contextmanager
def on_progress(callback: OnProgress) -> Iterator[None]:
    """Within the block, `callback(label, done, total)` is called as work goes on."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)


@dataclass
class Progress:
    """Counts finished items; `advance` may be called from any thread."""

    label: str
    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    logged: float = field(default_factory=time.monotonic)
    draw: Callable[[int], None] | None = None
    """Moves a bar; without one, a line is logged now and then."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, count: int = 1) -> None:
        with self.lock:
            self.done += count
            for callback in _callbacks:
                callback(self.label, self.done, self.total)
            now = time.monotonic()
            if self.draw is not None:
                self.draw(count)
            elif now - self.logged >= PLAIN_SECONDS:
                self.logged = now
                say(self.line())

    def line(self) -> str:
        spent = time.monotonic() - self.started
        left = spent / max(self.done, 1) * (self.total - self.done)
        return f"{self.label}: {self.done} of {self.total}, {left:.0f} s left"


@contextmanager
def progress(label: str, total: int) -> Iterator[Progress]:
    """A bar with an ETA when stderr is a terminal, else a line now and then and one at the end."""
    show_log()
    shown = LOGGER.isEnabledFor(logging.INFO)
    if not shown or not sys.stderr.isatty():
        state = Progress(label, total)
        yield state
        if total:
            say(f"{label}: {state.done} of {total} in {time.monotonic() - state.started:.1f} s")
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    # Names in a label are no markup and no terminal codes.
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(printable(label), total=total)
        yield Progress(label, total, draw=lambda count: bar.advance(task, count))
