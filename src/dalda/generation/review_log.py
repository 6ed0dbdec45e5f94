"""What a person decided about the samples: OUT/review.jsonl, to which lines are only ever added.

For each sample the last line of the file wins, whoever wrote it and whatever its clock said; `undo`
takes the sample back to undecided. Every line is on the disk before `append` returns. A last line
that was torn by a stop is no decision, and the next one takes its place.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from dalda.errors import UserError
from dalda.storage import jsonl as lines
from dalda.storage.lock import alone

REVIEW = "review.jsonl"
LOCK = REVIEW + ".lock"
LOCK_SECONDS = 10.0
Verdict = Literal["keep", "reject", "undo"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Decision:
    """One line: what was decided of one sample, when (UTC, ISO 8601), and by whom (a page in a browser)."""

    request_id: str
    decision: Verdict
    time: str
    author: str


def append(out: Path, request_id: str, decision: Verdict, author: str) -> Decision:
    """Adds one line, on the disk when this returns; other processes may add theirs at the same time.

    Raises UserError when the folder cannot be written, or is held by another process for too long.
    """
    if not out.is_dir():
        raise UserError(f"'{out}' is no longer there; put it back or review another folder")
    line = Decision(request_id, decision, datetime.now(UTC).isoformat(timespec="milliseconds"), author)
    path = _own(out)
    busy = f"'{out / LOCK}' is held by another process; end it and decide again"
    try:
        with alone(out / LOCK, busy, seconds=LOCK_SECONDS):
            _fix(path)
            lines.append(path, [asdict(line)])
    except OSError as error:
        raise UserError(f"'{path}' cannot be written ({error.strerror}); fix this") from error
    return line


def history(out: Path) -> list[Decision]:
    """All lines in the order they were written, none where nothing was reviewed.

    Raises UserError for a line that is damaged, except a torn last one.
    """
    return list(_read(_own(out)))


def decisions(out: Path) -> dict[str, Decision]:
    """What holds now, by request id: each sample's last line, without those that were undone."""
    last = {one.request_id: one for one in history(out)}
    return {name: one for name, one in last.items() if one.decision != "undo"}


def rejected(out: Path) -> frozenset[str]:
    """The request ids that are to be left out. Ids of samples that are no longer there may be among
    them."""
    return frozenset(name for name, one in decisions(out).items() if one.decision == "reject")


def _own(out: Path) -> Path:
    """Where the decisions are. Raises UserError for a link, which a stranger may have aimed at any file."""
    path = out / REVIEW
    if path.is_symlink():
        raise UserError(f"'{path}' is a link to another file, which is not followed; take it away")
    return path


def _fix(path: Path) -> None:
    """Cuts a torn last line off; ends one that is whole but for its newline, as editors leave it."""
    data = path.read_bytes() if path.exists() else b""
    start = data.rfind(b"\n") + 1
    if start == len(data):
        return
    if _parsed(data[start:]) is None:
        os.truncate(path, start)
    else:
        with path.open("ab") as file:
            file.write(b"\n")


def _read(path: Path) -> Iterator[Decision]:
    try:
        written = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}); fix this") from error
    for number, line in enumerate(written, 1):
        parsed = _parsed(line)
        if parsed is not None:
            yield parsed
        elif line.endswith(b"\n"):
            raise UserError(f"line {number} of '{path}' is damaged; take it out and run again")


def _parsed(line: bytes) -> Decision | None:
    """A line's decision, None for what is none."""
    try:
        record = json.loads(line)
        words = [record[field.name] for field in fields(Decision)]
        "".join(words).encode()  # half of a pair is no text that a page could hold
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return Decision(*words) if record["decision"] in VERDICTS else None
