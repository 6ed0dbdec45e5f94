"""What to show, and what to hand on."""

from pathlib import Path

from dalda.config.data import Strict
from dalda.config.roles import Content, Execution, Location


class ReportConfig(Strict):
    """One page about runs and synthetic sets."""

    places: tuple[Path, ...] = Location(min_length=1)
    """Folders of `dalda train`, `dalda run`, `dalda demo` or `dalda augment`; several make one page."""
    out: Path = Location()
    ignore_review: bool = Content(False)
    """Shows what was rejected in `dalda review` too."""
    device: str = Execution("auto")


class ExportConfig(Strict):
    """A synthetic set in a form that others read."""

    source: Path = Location()
    """A folder of `dalda augment`."""
    out: Path = Location()
    to: str = Content("folder")
    """A form of `dalda.reporting.export_forms`, or `csv`."""
    with_real: bool = Content(False)
    """Puts the real images beside the synthetic ones."""
    ignore_review: bool = Content(False)
