"""Reports and exports."""

from pathlib import Path

from dalda.config.data import Strict
from dalda.config.roles import Content, Execution, Location


class ReportConfig(Strict):
    """One page about runs and synthetic sets."""

    places: tuple[Path, ...] = Location(min_length=1)
    """Folders of dalda train, run, demo or augment; several make one page."""
    out: Path = Location()
    """A new .html file."""
    ignore_review: bool = Content(False)
    """Shows images that were rejected in dalda review, too."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""


class MergeConfig(Strict):
    """Synthetic sets that were generated apart, as one."""

    places: tuple[Path, ...] = Location(min_length=1)
    """Folders of dalda augment: the shards of one plan."""
    out: Path = Location()
    """A new folder."""


class ExportConfig(Strict):
    """A synthetic set, or a trained classifier, in a form for other tools."""

    source: Path = Location()
    """A folder of dalda augment; for onnx, one of dalda train -o or dalda run, or a classifier's file."""
    out: Path = Location()
    """A new folder; for csv and onnx, a new file."""
    to: str = Content("folder")
    """The form of the export: folder, hf, webdataset, parquet, csv, original, or onnx (docs/report.md)."""
    with_real: bool = Content(False)
    """Exports the real images beside the synthetic ones."""
    ignore_review: bool = Content(False)
    """Keeps images that were rejected in dalda review."""
