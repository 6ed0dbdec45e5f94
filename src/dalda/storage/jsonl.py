"""Records in a file, one JSON object a line, added as the work goes on and read after any stop."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.storage.atomic import unfinished, write_atomically

LARGEST = 1e9
"""Numbers of records are smaller by far; what is not, or is no number, is not one of ours."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(value.isascii() or value.encode())
    except UnicodeEncodeError:  # half of a pair, which no file and no page can hold
        return False


NEEDED: Mapping[str, Callable[[object], bool]] = {
    "request_id": _is_text,
    "label": _is_text,
    "source": _is_text,
    "source_sha256": _is_text,
    "repeat": lambda value: isinstance(value, int) and _is_number(value),
    "prompt": _is_text,
    "ip_adapter_scale": _is_number,
    "source_clip_probability": lambda value: value is None or _is_number(value),
}
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


def fix(path: Path) -> None:
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
    """Sorts the lines by their requests' places and keeps the last line of each request; nothing else
    changes."""
    text = _reordered(path, place)
    if text is not None:
        write_atomically(path, text)


def are_in_order(path: Path, place: Mapping[str, int]) -> bool:
    """Whether `put_in_order` would change nothing."""
    return _reordered(path, place) is None


def _reordered(path: Path, place: Mapping[str, int]) -> str | None:
    """The lines in their requests' order; None where they are in it."""
    if not path.exists():
        return None
    count, last = 0, dict[str, str]()
    for record, text in _numbered(path):
        count += 1
        last[str(record["request_id"])] = text
    ordered = sorted(last, key=lambda request_id: place.get(request_id, -1))
    if count != len(last) or ordered != list(last) or unfinished(path).exists():
        return "".join(last[request_id] for request_id in ordered)
    return None


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether a record has what it needs, and nothing that is neither a number nor text."""
    if not all(name in record and fits(record[name]) for name, fits in NEEDED.items()):
        return False
    others = (value for name, value in record.items() if name not in NEEDED)
    return all(
        (not isinstance(one, float) or _is_number(one)) and (not isinstance(one, str) or _is_text(one))
        for one in others
    )


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
            if not isinstance(record, dict) or not _is_sound(record):
                raise UserError(f"line {number} of '{path}' is damaged; take it out and run again")
            yield record, text
