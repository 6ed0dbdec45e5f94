"""Which folder of the original DALDA code."""

from pathlib import Path
from typing import Literal

from dalda.config.data import Strict
from dalda.config.roles import Content, Location


class ImportConfig(Strict):
    """A folder of images that the original DALDA code made, to become a synthetic set."""

    folder: Path = Content(within="images")
    dataset: str = Content(within="split")
    root: Path | None = Location(None)
    out: Path = Location()
    model: str = Content("sd14")
    """The preset that the images were made with, for the record."""
    on_bad_image: Literal["skip", "stop"] = Content("stop", within="split")
