"""Reports and exports."""

import re
from pathlib import Path

from pydantic import field_validator

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
    open: bool = Execution(False)
    """Opens the page in a browser."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""


class MergeConfig(Strict):
    """Synthetic sets that were generated apart, as one."""

    places: tuple[Path, ...] = Location(min_length=1)
    """Folders of dalda augment: the shards of one plan."""
    out: Path = Location()
    """A new folder."""


class PushConfig(Strict):
    """A synthetic set to upload to the Hugging Face Hub."""

    source: Path = Location()
    """A folder of dalda augment."""
    name: str = Location()
    """USER/NAME of a new data set on the Hub; the token is that of `hf auth login` or HF_TOKEN."""
    public: bool = Content(False)
    """Lets everybody see it; without this it is private."""
    yes: bool = Execution(False)
    """Confirms a public upload."""
    with_real: bool = Content(False)
    """Uploads the real images, too."""
    ignore_review: bool = Content(False)
    """Keeps images that were rejected in dalda review."""

    @field_validator("name")
    @classmethod
    def _of_a_user(cls, value: str) -> str:
        if re.fullmatch(r"[\w.-]+/[\w.-]+", value, re.ASCII) is None:
            raise ValueError("write USER/NAME, such as ann/more-herons")
        return value


class ExportConfig(Strict):
    """A synthetic set, or a trained classifier, in a form for other tools."""

    source: Path = Location()
    """A folder of dalda augment; for onnx, one of dalda train -o or dalda run, or a classifier's file."""
    out: Path = Location()
    """A new folder; for csv and onnx, a new file."""
    to: str = Content("folder")
    """The form of the export: folder, hf, webdataset, parquet, fiftyone, coco, csv, original, or onnx
    (docs/report.md)."""
    with_real: bool = Content(False)
    """Exports the real images beside the synthetic ones."""
    readable_names: bool = Content(False)
    """Names files by class, source, method and number, as boat_0011__dalda_03.png."""
    ignore_review: bool = Content(False)
    """Keeps images that were rejected in dalda review."""
