"""Text for a terminal: no control characters, aligned columns, suggestions for mistyped names."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_NUMBER = re.compile(r"[-+]?\d|-?$")


def printable(text: object) -> str:
    """The text with control characters, line breaks and changes of writing direction as escapes.

    Class names, file names and answers of servers are strangers' data and must not steer the terminal.
    """
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in _BIDI
        else character
        for character in str(text)
    )


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows under a heading (the first row) as aligned lines; numbers stand to the right.

    Wide characters count as two columns.
    """
    from rich.cells import cell_len

    columns = list(zip(*([printable(cell) for cell in row] for row in rows), strict=True))
    padded = []
    for column in columns:
        width = max(map(cell_len, column))
        right = all(_NUMBER.match(cell) for cell in column[1:])
        gaps = [" " * (width - cell_len(cell)) for cell in column]
        pairs = zip(column, gaps, strict=True)
        padded.append([f"{gap}{cell}" if right else f"{cell}{gap}" for cell, gap in pairs])
    return ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest of the names, or nothing if none is near."""
    known = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{known[near[0]]}'?" if near else ""
