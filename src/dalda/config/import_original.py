"""The import of a folder of the original DALDA code."""

from pathlib import Path
from typing import Literal

from dalda.config.data import Strict
from dalda.config.roles import Content, Location


class ImportConfig(Strict):
    """A folder of images that the original DALDA code made, to become a synthetic set."""

    folder: Path = Content(within="images")
    """A folder with aug-0-0.png and so on and their table."""
    dataset: str = Content(within="split")
    """The data set that the images were made from."""
    root: Path | None = Location(None)
    """The folder of a data set that is given by name."""
    out: Path = Location()
    """The folder of the synthetic set, new or to be resumed."""
    model: str = Content("sd14")
    """The preset that the images were made with, for the record."""
    steps: int | None = Content(None, ge=1)
    """Denoising steps of the images, if you know them; the folder does not say."""
    guidance_scale: float | None = Content(None, ge=0)
    """Classifier-free guidance of the images, if you know it."""
    on_bad_image: Literal["skip", "stop"] = Content("stop", within="split")
    """What happens at an image that cannot be used."""
