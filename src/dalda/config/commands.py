"""The options of the commands that have few of them."""

from pathlib import Path
from typing import Any, Literal

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


class ModelsConfig(Strict):
    """The models that `--model` names."""

    words: tuple[str, ...] = Location(())
    """get and the names of presets, to download them and pin their revisions; update and names, for the
    newest revisions; nothing, to list them all."""


class DoctorConfig(Strict):
    """The state of this machine."""
