"""Text that strangers wrote, made harmless to read: names, captions, file names."""

import re
from collections.abc import Sequence
from os.path import commonpath, exists
from pathlib import Path, PureWindowsPath

JOINERS = "\u200c\u200d"
"""They shape letters and emoji, and change nothing else."""


def harmless(text: str) -> str:
    """The text on one line, with a replacement character for each sign that steers a display.

    Such are terminal escapes and other controls, marks of writing direction (which could turn the rest of a
    sentence round), and halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    signs = re.sub(r"\s+", " ", text)
    return "".join(sign if sign.isprintable() or sign in JOINERS else "\ufffd" for sign in signs).strip()


def is_path(text: str) -> bool:
    """Whether a text is a place on a disk, which tells of its owner: absolute, by `..` or `~`, or there.

    What follows a colon is a file in that place.
    """
    if Path(text).is_absolute() or PureWindowsPath(text).is_absolute() or text[:1] in ("~", "."):
        return True
    return "/" in text and exists(text.partition(":")[0])


def shortened(text: str, length: int) -> str:
    """The text in at most `length` signs; what is cut ends in an ellipsis."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= length else line[: max(1, length - 1)] + "…"


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its own name, or where these are alike what differs in the paths."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    common = len(Path(commonpath([folder.resolve() for folder in folders])).parts)
    parts = [list(folder.resolve().parts[common:]) for folder in folders]
    while all(parts) and len({part[-1] for part in parts}) == 1:
        for part in parts:
            part.pop()
    return ["/".join(part) or str(folder) for part, folder in zip(parts, folders, strict=True)]


def share_of(count: int, total: int) -> str:
    return f"{100 * count / max(total, 1):.0f} %"
