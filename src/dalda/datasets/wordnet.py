"""What WordNet 3.0 knows of class names: the name of an id such as n02112018, and what lives in nature.

`tools/wordnet_table.py` makes the tables; their licence lies beside them.
"""

import gzip
import re
from functools import cache
from importlib import resources

WORDNET_ID = re.compile(r"n(\d{8})")


def wordnet_name(label: str) -> str | None:
    """The name of an id of a thing, as ImageNet's folders are called; None for any other label."""
    match = WORDNET_ID.fullmatch(label)
    return _names().get(match[1]) if match else None


def lives_in_nature(wording: str) -> bool:
    """Whether a name is that of an animal or a plant before anything else; a computer mouse is neither."""
    return wording.replace("_", " ").lower() in _nature()


@cache
def _names() -> dict[str, str]:
    return dict(line.split(" ", 1) for line in _lines("wordnet-ids"))


@cache
def _nature() -> frozenset[str]:
    return frozenset(_lines("wordnet-nature"))


def _lines(name: str) -> list[str]:
    data = resources.files("dalda.datasets").joinpath(f"{name}.txt.gz").read_bytes()
    return gzip.decompress(data).decode().splitlines()
