"""The user's cache folder."""

import os
from pathlib import Path


def cache_folder(part: str) -> Path:
    """A folder of the cache, by DALDA_CACHE or XDG_CACHE_HOME; it may not exist yet."""
    cache = os.environ.get("DALDA_CACHE")
    if cache:
        return Path(cache) / part
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dalda" / part
