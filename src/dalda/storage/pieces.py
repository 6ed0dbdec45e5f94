"""Lines that are added to a file of an object store: pieces beside it, until they are joined."""

from pathlib import Path

from dalda.storage.files import list_folder, remove, write
from dalda.storage.readers import read_bytes

ROWS = 1000
"""Lines of a piece; the last one is put again with each addition."""


def folder_of(path: Path) -> Path:
    """Hidden, beside the file."""
    return path.with_name(f".{path.name}.pieces")


def pieces_of(path: Path) -> list[Path]:
    """In the order in which they were begun."""
    return [folder_of(path) / name for name in list_folder(folder_of(path))]


def add(path: Path, data: bytes) -> None:
    """Adds whole lines, in the store when this returns. One process at a time."""
    pieces = pieces_of(path)
    last = read_bytes(pieces[-1], limit=None) if pieces else b""
    if last and last.count(b"\n") < ROWS:
        write(pieces[-1], last + data)
    elif data:
        number = int(pieces[-1].stem) + 1 if pieces else 1
        write(folder_of(path) / f"{number:06d}.jsonl", data)


def join(path: Path, text: str) -> None:
    """Puts the file, which then holds the lines of all pieces, and removes them.

    A stop in between leaves lines twice, of which the last counts.
    """
    pieces = pieces_of(path)
    write(path, text)
    for piece in pieces:
        remove(piece)
