"""What to show, and what to hand on."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from dalda.config.data import Strict


class ReportConfig(Strict):
    """One page about runs and synthetic sets."""

    places: tuple[Path, ...] = Field(min_length=1)
    """Folders of `dalda train`, `dalda run`, `dalda demo` or `dalda augment`; several make one page."""
    out: Path
    ignore_review: bool = False
    """Shows what was rejected in `dalda review` too."""
    device: str = "auto"


class ExportConfig(Strict):
    """A synthetic set in a form that others read."""

    source: Path
    """A folder of `dalda augment`."""
    out: Path
    to: Literal["folder", "hf", "webdataset", "csv", "original"] = "folder"
    with_real: bool = False
    """Puts the real images beside the synthetic ones."""
    ignore_review: bool = False
