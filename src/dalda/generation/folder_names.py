"""Class folders: readable, safe on every disk, and never taken for a split by a data set loader."""

import hashlib
import re
import unicodedata
from functools import lru_cache

from dalda.generation.sharding import PART

LONGEST = 120
"""Bytes of a folder's name; file systems take 255 with the path around it."""
_SPLIT = re.compile(
    r"(?<![^-._ 0-9])(validation|valid|dev|val|test|testing|eval|evaluation)(?![^-._ 0-9])",
    re.IGNORECASE,
)
"""Words by which `datasets` takes a folder for a split, between the characters that it splits names at."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""


@lru_cache(1 << 16)
def folder_name(label: str) -> str:
    """A class's folder: its name if that is safe, otherwise a readable form with a hash of the name.

    Two classes never share a folder, also on a disk that knows no upper case.
    """
    safe = re.sub(r"[^\w .,()+-]", "_", unicodedata.normalize("NFC", label)).strip(" .")
    safe = _SPLIT.sub(lambda word: f"({word[0]})", safe)
    taken = label.startswith(("-", "metadata.")) or _RESERVED.fullmatch(label) or PART.fullmatch(label)
    safe = safe.replace(".", "_") if taken else safe
    if safe == label == label.casefold() and not taken and len(label.encode()) <= LONGEST:
        return label
    digest = hashlib.sha256(label.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe.encode()[:100].decode(errors='ignore').strip(' .') or 'class'}-{digest}"
