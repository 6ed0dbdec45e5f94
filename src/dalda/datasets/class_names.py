"""Class names: the label is the folder's name; captions, CLIP and head initialisation read its wording."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from dalda.datasets.wordnet import wordnet_name
from dalda.errors import UserError
from dalda.progress import say
from dalda.storage import read_text
from dalda.types import FewShotSplit

WORDINGS_FILE = "class_names.csv"
"""In a data set's folder: a line FOLDER,WORDING for each class that is called otherwise."""

MOST_NAMED = 5
UNCLEAR = re.compile(
    r"[\W\d_]*|[a-z]|n\d{8}|(class|label|category|cls)[ _]?\d*|ok|ng|yes|no|true|false|pos|neg", re.I
)
"""Numbers, single letters, WordNet ids, and words that name a verdict rather than a thing."""


def same_name(text: str) -> str:
    """A name in composed Unicode: a Mac's disk gives the decomposed form of the same letters."""
    return unicodedata.normalize("NFC", text)


@cache
def _published() -> Any:
    text = resources.files("dalda.datasets").joinpath("classes.json").read_text(encoding="utf-8")
    return json.loads(text)


def published_classes(dataset: str) -> tuple[str, ...]:
    """The classes of a published data set, in the order of its labels."""
    return tuple(_published()[dataset]["class_names"])


def wordings_of(dataset: str, classes: Iterable[str], root: Path | None = None) -> dict[str, str]:
    """The wording of each class by its label: `german_shepherd` is "german shepherd".

    A file `class_names.csv` in `root` goes first, then the wordings of a published data set. Raises
    UserError for a file that is no such table, and for a class in it that the data set does not have.
    """
    labels = list(classes)
    chosen = {} if root is None else _read(root / WORDINGS_FILE, labels)
    return {label: chosen.get(label) or wording_of(dataset, label) for label in labels}


def chosen_wordings(split: FewShotSplit) -> dict[str, str]:
    """The wordings that the user chose in `class_names.csv`, by label; they decide what CLIP reads."""
    return {
        label: wording
        for label, wording in class_wordings(split).items()
        if wording != wording_of(split.dataset, label)
    }


def class_wordings(split: FewShotSplit) -> dict[str, str]:
    """The wordings of a split's classes by label, in their order."""
    return wordings_of(split.dataset, split.classes, split.root)


def wording_of(dataset: str, label: str) -> str:
    """The wording of one class: published, by WordNet's id, or the label with spaces for underscores."""
    published = _published().get(dataset, {}).get("names_for_captions", {})
    return published.get(label) or wordnet_name(label) or " ".join(label.replace("_", " ").split()) or label


def unclear_names(wordings: Iterable[str]) -> list[str]:
    """The wordings from which neither CLIP nor a language model can tell what an image shows."""
    return [name for name in wordings if UNCLEAR.fullmatch(name.strip())]


def say_unclear(split: FewShotSplit) -> None:
    """Says which class names nobody can generate by, and how to give them a wording."""
    unclear = unclear_names(class_wordings(split).values())
    if unclear:
        say(f"note: {unclear_sentence(unclear, split.root)}")


def unclear_sentence(unclear: Sequence[str], root: Path) -> str:
    """Which names say nothing, and how to give them a wording."""
    names = ", ".join(f"'{name}'" for name in unclear[:MOST_NAMED])
    many = f"{len(unclear)} class names do" if len(unclear) > 1 else "1 class name does"
    return (
        f"{many} not say what the images show ({names}): write lines of FOLDER,WORDING into "
        f"{root / WORDINGS_FILE}"
    )


def _read(path: Path, labels: list[str]) -> dict[str, str]:
    if not path.exists():
        return {}
    text = read_text(path)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"'{path}' cannot be read ({error}): write lines of FOLDER,WORDING") from error
    if rows and rows[0] == ["folder", "wording"]:
        rows = rows[1:]
    wordings: dict[str, str] = {}
    for number, row in enumerate((row for row in rows if row), 1):
        if len(row) != 2 or not (wording := " ".join(row[1].split())):
            raise UserError(f"entry {number} of '{path}' is not FOLDER,WORDING: correct it")
        label = same_name(row[0])
        if label not in labels:
            raise UserError(
                f"'{path}' names the class '{label}', which the data set does not have: correct it"
            )
        if label in wordings:
            raise UserError(f"'{path}' names the class '{label}' twice: remove one")
        wordings[label] = wording
    return wordings
