"""The user's cache folder: DALDA_CACHE, or dalda's folder in XDG_CACHE_HOME or the home folder."""

import os
from pathlib import Path

from dalda.storage import private_folder


def cache_folder(name: str = "") -> Path:
    """A folder in the cache; it is not made.

    A user without a home folder, as in a container, has the cache among the temporary files, in a folder
    that nobody else can write to.
    """
    chosen = os.environ.get("DALDA_CACHE")
    if chosen:
        return Path(chosen) / name
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base) / "dalda" / name
    home = os.path.expanduser("~")  # stays "~" with neither HOME nor an entry in the system's list of users
    if home != "~" and os.path.isdir(home) and os.access(home, os.W_OK):
        return Path(home) / ".cache/dalda" / name
    return private_folder("dalda-cache") / name
