"""The options of the commands that have few of them."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from dalda.config.cluster import ClusterConfig
from dalda.config.data import DataConfig, Strict
from dalda.config.roles import Content, Execution, Location
from dalda.registry import DEFAULT_MODEL


class DemoConfig(Strict):
    """The demo on the embedded world."""

    out: Path = Location(Path("dalda-demo"))
    """A new or empty folder, or one of an earlier demo."""


class DownloadConfig(Strict):
    """A published data set to download."""

    dataset: str = Content()
    """pets, flowers102 or caltech101."""
    root: Path = Location()
    """The folder for it."""
    mirror: str | None = Location(None)
    """Another address that serves the same files."""


class SplitConfig(DataConfig):
    """A few-shot split of a data set."""

    split: Literal["train", "val"] = Content("train")
    """The part of the data set."""


class InspectConfig(DataConfig):
    """A data set before any work is done with it: its classes, images, faults and split."""


class ScoreConfig(DataConfig):
    """The CLIP class probability of each real image of a split."""

    model: str = Content(DEFAULT_MODEL)
    """The preset whose CLIP is used."""
    out: Path | None = Location(None)
    """A new CSV file."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""


class CalibrateConfig(DataConfig):
    """How similar a model's images are to their source at each IP-Adapter scale."""

    model: str = Content(DEFAULT_MODEL)
    """A preset (docs/models.md), a diffusers folder, a .safetensors file or a Hub id."""
    model_option: dict[str, Any] = Content(default_factory=dict)
    """Any field of the preset, such as steps=12, as dalda augment will use it; repeat it for more."""
    images: int = Content(16, ge=1)
    """Real images that are measured, one synthetic image of each at each scale."""
    device: str = Execution("auto")
    """auto, cpu, cuda, cuda:N or mps."""


class RunConfig(ClusterConfig):
    """A study: arms x shots x seeds."""

    study: Path = Location()
    """A .yaml file, or a .py configuration file of the original DALDA code."""
    out: Path | None = Location(None)
    """The results folder, in place of the one that the file names."""
    root: Path | None = Location(None)
    """The folder of a data set that is given by name."""
    original: bool = Content(False)
    """Follows the original DALDA code in every detail (docs/compat.md)."""
    only: tuple[str, ...] = Content(())
    """An arm to run; repeat it for more."""


class ConvertConfig(Strict):
    """A configuration file of the original DALDA code, as a study in YAML; it is never executed."""

    study: Path = Location()
    """A .py configuration file of the original DALDA code."""
    out: Path | None = Location(None)
    """A new .yaml file; without it the study is printed."""


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


class PlotConfig(Strict):
    """A figure of accuracy over shots, gains per class, and IP-Adapter scale over CLIP probability."""

    runs: tuple[Path, ...] = Location(min_length=1)
    """Folders of dalda run, or of CSV files of the original DALDA code, or a configuration of its plot."""
    out: Path = Location()
    """A new .png, .svg or .pdf file."""
    panels: str = Content("all")
    """shots, classes, scales, or all."""
    epoch: Literal["last", "best"] = Content("last")
    """The epoch that is shown. best is chosen on the reported images and flatters; the original code
    plots it."""


class ReviewConfig(Strict):
    """A local page to keep or reject synthetic images."""

    out: Path = Location()
    """A folder of dalda augment."""
    port: int = Execution(7860, ge=0, le=65535)
    """The port of the page; 0 takes any free one."""
    host: str = Execution("127.0.0.1")
    """The address to listen on; any other than 127.0.0.1 opens the page to other machines."""
    browser: bool = Execution(True)
    """Prints the address and opens no browser."""


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


class ModelsConfig(Strict):
    """The models that `--model` names."""

    words: tuple[str, ...] = Location(())
    """get and the names of presets, to download them and pin their revisions; update and names, for the
    newest revisions; nothing, to list them all."""


class DoctorConfig(Strict):
    """The state of this machine."""
