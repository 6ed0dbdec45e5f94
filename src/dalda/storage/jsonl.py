"""Records in a file, one JSON object a line, added as the work goes on and read after any stop.

In an object store, where nothing is added to an object, they are pieces beside the file until they are
put in order.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from dalda.errors import UserError
from dalda.storage.address import Address
from dalda.storage.failures import explained
from dalda.storage.files import append_lines, exists, list_folder, open_binary, remove, unfinished, write
from dalda.storage.readers import parse_json, read_bytes

LARGEST = 1e9
"""Numbers of records are smaller by far; what is not, or is no number, is not one of ours."""
MAX_LINE = 1 << 20
PIECE = 1000
"""Lines of a piece; the last one is put again with each addition."""
_Parsed = TypeVar("_Parsed")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _is_text(value: object) -> bool:
    """Without a null, which no path may hold."""
    return isinstance(value, str) and "\0" not in value


def _are_shares(value: object) -> bool:
    """A soft label: classes with their shares."""
    return value is None or (
        isinstance(value, list)
        and all(
            isinstance(part, dict) and _is_text(part.get("label")) and _is_number(part.get("share"))
            for part in value
        )
    )


NEEDED: Mapping[str, Callable[[object], bool]] = {
    "request_id": _is_text,
    "label": _is_text,
    "source": _is_text,
    "source_sha256": _is_text,
    "index": lambda value: isinstance(value, int) and _is_number(value),
    "prompt": _is_text,
    "ip_adapter_scale": _is_number,
    "source_clip_probability": lambda value: value is None or _is_number(value),
}
"""What a record must say of itself to be a synthetic image."""
CHECKED: Mapping[str, Callable[[object], bool]] = {
    "file_name": lambda value: value is None or _is_text(value),
    "source_label": _is_text,
    "soft_label": _are_shares,
}
"""What it may say; a record of an older version, or of no image, does not."""


def append(path: Path, records: Iterable[Mapping[str, Any]], *, root: Path | None = None) -> None:
    """Adds a line per record, on the disk when this returns; adds nothing where it raises StorageError."""
    added = [json.dumps(record, ensure_ascii=False) for record in records]
    if isinstance(path, Address):
        _add_to_pieces(path, "".join(line + "\n" for line in added).encode())
    else:
        append_lines(path, added, root=root)


def fix(path: Path, parse: Callable[[bytes], object] | None = None) -> None:
    """Cuts off a last line that a stop has torn; ends one that `parse` reads without its newline."""
    if isinstance(path, Address) or not exists(path):  # an object is never torn
        return
    with open_binary(path) as file, explained(path, "read"):
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read(1) in (b"", b"\n"):
            return
        file.seek(0)
        data = file.read()
    start = data.rfind(b"\n") + 1
    is_torn = (parse or _record)(data[start:]) is None
    write(path, data[:start] if is_torn else data + b"\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every record, in the file's order. Raises UserError for a line that is damaged or lacks something."""
    return (record for record, _ in _numbered(path))


def put_in_order(path: Path, place: Mapping[str, int], without: Collection[str] = ()) -> None:
    """Sorts the lines of requests that have a place, keeps the last line of each request and none of those
    in `without`; nothing else changes."""
    text = _reordered(path, place, without)
    if text is not None:
        # A stop in between leaves the lines of pieces twice, of which the last counts.
        pieces = pieces_of(path)
        write(path, text)
        for piece in pieces:
            remove(piece)


def are_in_order(path: Path, place: Mapping[str, int], without: Collection[str] = ()) -> bool:
    """Whether `put_in_order` would change nothing."""
    return _reordered(path, place, without) is None


def _reordered(path: Path, place: Mapping[str, int], without: Collection[str]) -> str | None:
    """The lines in their requests' order; None if they are in it."""
    files = _files(path)
    if not files:
        return None
    count, last = 0, dict[str, str]()
    for record, text in _numbered(path):
        count += 1
        if record["request_id"] not in without:
            last[str(record["request_id"])] = text
    placed = iter(sorted(place.keys() & last.keys(), key=place.__getitem__))
    ordered = [next(placed) if request_id in place else request_id for request_id in last]
    if count != len(last) or ordered != list(last) or files != [path] or exists(unfinished(path)):
        return "".join(last[request_id] for request_id in ordered)
    return None


def _is_valid(record: object) -> bool:
    """Whether a record has what it needs, and no number that is too large."""
    if not isinstance(record, dict) or not all(
        name in record and fits(record[name]) for name, fits in NEEDED.items()
    ):
        return False
    if not all(fits(record[name]) for name, fits in CHECKED.items() if name in record):
        return False
    return all(not isinstance(value, float) or _is_number(value) for value in record.values())


def _numbered(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Records with their lines."""
    for part in _files(path):
        with open_binary(part) as file:
            for record, line in parsed_lines(file, part, _record):
                yield record, line.decode().rstrip("\n") + "\n"


def parsed_lines(
    file: BinaryIO, name: object, parse: Callable[[bytes], _Parsed | None], before: int = 0
) -> Iterator[tuple[_Parsed, bytes]]:
    """What each line holds, and the line; a torn last line is omitted. `before` lines were read already.

    Raises UserError for a line that is damaged: that `parse` finds nothing in.
    """
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), before + 1):
        parsed = parse(line)
        if parsed is not None:
            yield parsed, line
        elif line.endswith(b"\n") or len(line) == MAX_LINE:
            raise UserError(f"line {number} of '{name}' is damaged; take it out and run again")


def _files(path: Path) -> list[Path]:
    """The file, if it is there, and the pieces that were added to it in an object store."""
    return ([path] if exists(path) else []) + pieces_of(path)


def pieces_of(path: Path) -> list[Path]:
    """The pieces of a file in an object store, in the order in which they were begun."""
    folder = _piece_folder(path)
    return [folder / name for name in list_folder(folder)] if isinstance(path, Address) else []


def _piece_folder(path: Path) -> Path:
    return path.with_name(f".{path.name}.pieces")


def _add_to_pieces(path: Path, data: bytes) -> None:
    """Adds whole lines, in the store when this returns. One process at a time."""
    pieces = pieces_of(path)
    last = read_bytes(pieces[-1], limit=None) if pieces else b""
    if last and last.count(b"\n") < PIECE:
        write(pieces[-1], last + data)
    elif data:
        number = int(pieces[-1].stem) + 1 if pieces else 1
        write(_piece_folder(path) / f"{number:06d}.jsonl", data)


def _record(line: bytes) -> dict[str, Any] | None:
    """A line's record; None if it is damaged or lacks something."""
    try:
        record = parse_json(line.decode(), "a line")
    except (UnicodeDecodeError, UserError):
        return None
    return record if _is_valid(record) else None
