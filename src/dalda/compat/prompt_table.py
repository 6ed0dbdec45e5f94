"""A synthetic folder of the original DALDA code: its table, read strictly, and its images, found by name.

Of the table's paths only the last parts are looked at, as text: nothing of it is opened or followed.
"""

import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalda.datasets.class_names import same_name
from dalda.errors import UserError
from dalda.storage import csv_text, exists, read_csv

TABLE = "source_image_prompt.csv"
IMAGE = re.compile(r"aug-(\d{1,7})-(\d{1,7})\.png")
COLUMNS = (
    "source_image_path",
    "aug_prompt_path",
    "used_prompt",
    "scale",
    "clip_score",
    "threshold_clipscore",
)
"""The last one really holds the mean that the IP-Adapter scale was drawn around."""
REQUIRED = ("source_image_path", "used_prompt", "scale")
IMAGE_COLUMNS = ("aug_prompt_path", "aug_image_path")
"""Two versions of the original DALDA code call the image's path so."""
LARGEST_TABLE = 256 * 2**20


@dataclass(frozen=True)
class PromptRow:
    """What the table says of one image."""

    index: int
    """Of the source in the original code's split."""
    repeat: int
    source: tuple[str, ...]
    """The parts of the source's path, wherever that was."""
    prompt: str
    ip_adapter_scale: float
    source_clip_probability: float | None
    mean: float | None
    """The original code's column `threshold_clipscore`, which really holds the mean of lambda."""

    @property
    def name(self) -> str:
        return f"aug-{self.index}-{self.repeat}.png"


def read_table(folder: Path) -> list[PromptRow]:
    """The table's rows in the order of index and repeat; of several on one image, the last.

    Raises UserError, with the line, for anything that the original DALDA code does not write.
    """
    path = folder / TABLE
    if not exists(path):
        raise UserError(
            f"'{folder}' has no {TABLE}; name a folder of images that the original DALDA code made"
        )
    rows = read_csv(path, what="a table of the original DALDA code", needs=REQUIRED, limit=LARGEST_TABLE)
    image = next((name for name in IMAGE_COLUMNS if rows and name in rows[0]), IMAGE_COLUMNS[0])
    if rows and image not in rows[0]:
        raise UserError(f"'{path}' has no column '{image}'; it is no table of the original DALDA code")
    by_image: dict[tuple[int, int], PromptRow] = {}
    for line, cells in enumerate(rows, 2):
        row = _row(cells, image, f"line {line} of '{path}'")
        by_image[row.index, row.repeat] = row
    ordered = [by_image[key] for key in sorted(by_image)]
    _refuse_two_sources(path, ordered)
    return ordered


def prompt_table(rows: Iterable[tuple[object, ...]]) -> str:
    """The table as CSV, from the values of COLUMNS; a scale without a mean is its own mean."""
    lines = ([*row[:5], row[3] if row[5] is None else row[5]] for row in rows)
    return csv_text([COLUMNS, *lines])


def images_in(folder: Path) -> set[str]:
    """The names of the images; links are not followed."""
    with os.scandir(folder) as entries:
        return {
            entry.name
            for entry in entries
            if IMAGE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        }


def closest(parts: Sequence[str], paths: Iterable[Path]) -> list[Path]:
    """The files of that name whose paths end most like the table's, which was made on another machine.

    A Mac's disk gives letters decomposed that the table has composed, and both are one name.
    """
    wanted = [same_name(part) for part in reversed(parts)]

    def common(path: Path) -> int:
        pairs = enumerate(zip(map(same_name, reversed(path.parts)), wanted, strict=False))
        return next((count for count, (one, other) in pairs if one != other), len(parts))

    named = {path: common(path) for path in paths if same_name(path.name) == wanted[0]}
    return [path for path, count in named.items() if count == max(named.values())]


def _row(cells: Mapping[str, str], image: str, where: str) -> PromptRow:
    named = IMAGE.fullmatch(_parts(cells[image])[-1])
    if named is None:
        raise UserError(f"{where} names the image {cells[image][:80]!r}, not aug-INDEX-REPEAT.png")
    prompt = " ".join(cells["used_prompt"].split())
    if not prompt or any(unicodedata.category(character) == "Cc" for character in prompt):
        raise UserError(f"{where} has no prompt, or one with control characters: {prompt[:80]!r}")
    scale = _number(cells["scale"], where)
    if scale is None:
        raise UserError(f"{where} has no scale")
    return PromptRow(
        index=int(named[1]),
        repeat=int(named[2]),
        source=_parts(cells["source_image_path"]),
        prompt=prompt,
        ip_adapter_scale=scale,
        source_clip_probability=_number(cells.get("clip_score", ""), where),
        mean=_number(cells.get("threshold_clipscore", ""), where),
    )


def _parts(path: str) -> tuple[str, ...]:
    """The parts of a path of any system; never empty."""
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _number(text: str, where: str) -> float | None:
    """A share from 0 to 1; None where the cell is empty."""
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise UserError(f"{where} has {text[:40]!r} where a number from 0 to 1 is expected")
    return number


def _refuse_two_sources(path: Path, rows: list[PromptRow]) -> None:
    sources: dict[int, tuple[str, ...]] = {}
    for row in rows:
        if sources.setdefault(row.index, row.source) != row.source:
            raise UserError(
                f"'{path}' names two sources for the images aug-{row.index}-...: "
                f"{'/'.join(sources[row.index])!r} and {'/'.join(row.source)!r}; two runs are mixed in it"
            )
