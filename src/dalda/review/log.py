"""The review log OUT/review.jsonl: one decision a line; lines are only ever added.

The last line about an image decides, whoever wrote it and whatever its time; `undo` makes the image
undecided. Each line is on the disk before `append` returns. A torn last line is no decision.
"""

import json
import threading
from codecs import BOM_UTF8
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from dalda.errors import UserError
from dalda.storage import Address, append_lines, jsonl, lock, read_bytes

REVIEW = "review.jsonl"
LOCK_SECONDS = 10.0
Verdict = Literal["keep", "reject", "undo"]


@dataclass(frozen=True)
class Decision:
    """A decision about one image, its time (UTC, ISO 8601) and its author (a page in a browser)."""

    request_id: str
    decision: Verdict
    time: str
    author: str


DECISIONS = TypeAdapter(Decision)


@dataclass
class ReviewLog:
    """The decisions of one synthetic set, read as the file grows; several processes may write it."""

    out: Path
    _decisions: list[Decision] = field(default_factory=list)
    _lines: bytes = b""
    """Those of the decisions: where the file does not begin with them, it was replaced."""
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def decisions(self) -> list[Decision]:
        """All decisions in the order of the file; only what was added since the last call is read.

        Raises UserError for a damaged line, except a torn last one.
        """
        path, data = self._path(), b""
        with self._guard:
            with suppress(FileNotFoundError):
                data = read_bytes(path, limit=None)
            if not data.startswith(self._lines):
                self._decisions, self._lines = [], b""
            new = jsonl.parsed_lines(BytesIO(data[len(self._lines) :]), path, _parsed, len(self._decisions))
            decisions = [*self._decisions, *(decision for decision, _ in new)]
            # A last line without its newline may be a decision, but is read again next time.
            self._lines = data[: data.rfind(b"\n") + 1]
            self._decisions = decisions[: data.count(b"\n")]
            return decisions

    def append(self, request_id: str, decision: Verdict, author: str) -> Decision:
        """Adds one line; other processes may add theirs at the same time.

        Raises UserError when the folder cannot be written, or another process holds it for too long.
        """
        if not self.out.is_dir():
            raise UserError(f"'{self.out}' does not exist any more; put it back or review another folder")
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        added = Decision(request_id, decision, time, author)
        path = self._path()
        busy = f"'{path}' is held by another process; end it and decide again"
        remote = isinstance(path, Address)
        if not remote:
            append_lines(path, ())  # makes the file, which is locked in place of the folder
        # Beside an object, for it is no folder; not the set's own folder, which augment may hold.
        with lock(path.with_name(f".{REVIEW}") if remote else path, busy, seconds=LOCK_SECONDS):
            jsonl.fix(path, _parsed)
            append_lines(path, [json.dumps(asdict(added), ensure_ascii=False)])
        return added

    def _path(self) -> Path:
        """Raises UserError for a link, which may lead to any file."""
        path = self.out / REVIEW
        if path.is_symlink():
            raise UserError(f"'{path}' is a link to another file, which is not followed; remove it")
        return path


def current_decisions(out: Path) -> dict[str, Decision]:
    """The last decision about each image, by request id, without those that were undone."""
    last = {decision.request_id: decision for decision in ReviewLog(out).decisions()}
    return {request_id: decision for request_id, decision in last.items() if decision.decision != "undo"}


def rejected(out: Path) -> frozenset[str]:
    """The request ids that are to be excluded; some may belong to images that no longer exist."""
    current = current_decisions(out)
    return frozenset(
        request_id for request_id, decision in current.items() if decision.decision == "reject"
    )


def _parsed(line: bytes) -> Decision | None:
    """The decision in a line; None where there is none."""
    try:
        return DECISIONS.validate_json(line.removeprefix(BOM_UTF8))  # of some editors
    except ValidationError:
        return None
