"""Records in a file, one JSON object a line, added as the work goes on and read after any stop."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.writing import unfinished, write_atomically

NEEDED = frozenset(
    {"job_id", "label", "source", "source_sha256", "repeat", "prompt", "ip_adapter_scale", "clip_score"}
)
"""What a record must say of itself to be a sample."""


def append(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Adds a line per record, on the disk when this returns; adds nothing where it raises OSError."""
    data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = 0
            while written < len(data):
                written += file.write(data[written:])
            os.fsync(file.fileno())
        except OSError:
            # A full disk takes part of a line; what is added after it must not be joined to it.
            with suppress(OSError):
                file.truncate(before)
            raise


def mend(path: Path) -> None:
    """Cuts off a last line that a stop has torn."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
    whole = path.read_bytes().rfind(b"\n") + 1
    os.truncate(path, whole)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every record, in the file's order. Raises UserError for a line that is damaged or lacks something."""
    return (record for record, _ in _numbered(path))


def put_in_order(path: Path, place: Mapping[str, int]) -> None:
    """Sorts the lines by their jobs' places and keeps the last line of each job; nothing else changes."""
    text = _reordered(path, place)
    if text is not None:
        write_atomically(path, text)


def are_in_order(path: Path, place: Mapping[str, int]) -> bool:
    """Whether `put_in_order` would change nothing."""
    return _reordered(path, place) is None


def _reordered(path: Path, place: Mapping[str, int]) -> str | None:
    """The lines in their jobs' order; None where they are in it."""
    if not path.exists():
        return None
    count, last = 0, dict[str, str]()
    for record, text in _numbered(path):
        count += 1
        last[str(record["job_id"])] = text
    ordered = sorted(last, key=lambda job_id: place.get(job_id, -1))
    if count != len(last) or ordered != list(last) or unfinished(path).exists():
        return "".join(last[job_id] for job_id in ordered)
    return None


def _numbered(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Records with their lines; a torn last line is no record."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return
            try:
                record = json.loads(text)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict) or not record.keys() >= NEEDED:
                raise UserError(f"line {number} of '{path}' is damaged; take it out and run again")
            yield record, text
