"""Which folder of the original DALDA code."""

from pathlib import Path
from typing import Literal

from dalda.config.data import Strict


class ImportConfig(Strict):
    """A folder of images that the original DALDA code made, to become a synthetic set."""

    folder: Path
    dataset: str
    root: Path | None = None
    out: Path
    model: str = "sd14"
    """The preset that the images were made with, for the record."""
    on_bad_image: Literal["skip", "stop"] = "stop"
