"""The revision of each downloaded model: later runs use it, whatever the Hub has."""

import re
from pathlib import Path

from dalda.cache import cache_folder
from dalda.storage import exists, make_folder, read_text, write

HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
COMMIT = re.compile(r"[0-9a-f]{40}")


def pinned(name: str) -> str | None:
    """The commit of a Hub id; None for one that is not pinned, and for any other name."""
    if not HUB_ID.fullmatch(name) or not exists(_file(name)):
        return None
    commit = read_text(_file(name)).strip()
    return commit if COMMIT.fullmatch(commit) else None


def pin(name: str, commit: str) -> None:
    """Keeps a Hub id's commit for later runs."""
    make_folder(_file(name).parent)
    write(_file(name), f"{commit}\n", shared=True)


def _file(name: str) -> Path:
    return cache_folder("revisions") / name.replace("/", "--")
