"""Long work says how far it is, on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PLAIN_SECONDS = 15.0


@dataclass
class Progress:
    """Counts finished items; `advance` may be called from any thread."""

    label: str
    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    draw: Callable[[int], None] | None = None
    """Moves a bar; without one, a line is said now and then."""

    def advance(self, count: int = 1) -> None:
        self.done += count
        if self.draw is not None:
            self.draw(count)
            return
        now = time.monotonic()
        if now - self.said >= PLAIN_SECONDS:
            self.said = now
            say(self.line())

    def line(self) -> str:
        spent = time.monotonic() - self.started
        left = spent / max(self.done, 1) * (self.total - self.done)
        return f"{self.label}: {self.done} of {self.total}, {left:.0f} s left"


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: int) -> Iterator[Progress]:
    """A bar with an ETA when stderr is a terminal, else a line now and then and one at the end."""
    if not sys.stderr.isatty():
        state = Progress(label, total)
        yield state
        if total:
            say(f"{label}: {state.done} of {total} in {time.monotonic() - state.started:.1f} s")
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield Progress(label, total, draw=lambda count: bar.advance(task, count))
