"""The commands whose workflow takes other arguments than their configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.errors import UserError

if TYPE_CHECKING:
    from dalda import config as configs
    from dalda.doctor import Check
    from dalda.workflows.reports import DemoReport, ReviewReport, StudyDryRun, StudyReport


@dataclass(frozen=True)
class Output:
    """A result whose JSON, lines or exit code are not the usual ones."""

    json: Any
    lines: list[str]
    exit_code: int = 0


@dataclass(frozen=True)
class DownloadReport:
    """A downloaded data set."""

    dataset: str
    root: Path
    classes: int
    images: Mapping[str, int]
    """By part."""


@dataclass(frozen=True)
class ScoreReport:
    """The CLIP class probabilities of a split."""

    dataset: str
    at_most_03: int
    images: list[dict[str, Any]]


@dataclass(frozen=True)
class MachineReport:
    """The checks of `dalda doctor`."""

    checks: "list[Check]"


def start_demo(config: "configs.DemoConfig") -> "DemoReport":
    from dalda.demo import run_demo

    return run_demo(config.out)


def run_download(config: "configs.DownloadConfig") -> DownloadReport:
    from dalda.datasets.download import download

    dataset = download(config.dataset, config.root, config.mirror)
    counts = {part: sum(map(len, files.values())) for part, files in dataset.parts.items()}
    return DownloadReport(config.dataset, config.root, len(dataset.classes), counts)


def run_split(config: "configs.SplitConfig") -> Output:
    from dalda.cli.output import lines_of
    from dalda.datasets.few_shot import sample_few_shot, split_as_json
    from dalda.workflows.real_images import load_dataset

    chosen = sample_few_shot(
        load_dataset(config.dataset, config.root),
        part=config.part,
        seed=config.seed,
        shots=config.shots,
        split_strategy=config.split_strategy,
    )
    return Output(split_as_json(chosen), lines_of(chosen))


def run_score(config: "configs.ScoreConfig") -> ScoreReport:
    from dalda.workflows.real_images import score_table

    rows = score_table(config, config.model, config.device, config.out)
    low = sum(row["source_clip_probability"] <= 0.3 for row in rows)
    return ScoreReport(config.dataset, low, rows)


def run_captions(config: "configs.CaptionConfig") -> Output:
    from dalda.cli.output import lines_of
    from dalda.workflows.captions import write_captions

    report = write_captions(config)
    samples = report.sample(config.sample) if config.sample else {}
    lines = [f"{name}: {caption}" for name, captions in samples.items() for caption in captions]
    return Output(report.as_dict(), [*lines_of(report), *lines], 1 if report.missing else 0)


def run_study(config: "configs.RunConfig") -> "StudyReport":
    from dalda.workflows.experiment import run_experiment

    return run_experiment(
        config.study, out=config.out, root=config.root, original=config.original, only=config.only
    )


def dry_run_study(config: "configs.RunConfig") -> "StudyDryRun":
    from dalda.workflows.dry_run import dry_run_experiment

    return dry_run_experiment(
        config.study, out=config.out, root=config.root, original=config.original, only=config.only
    )


def run_convert(config: "configs.ConvertConfig") -> Output:
    from dalda.config.experiment import read_study, study_as_yaml

    text = study_as_yaml(read_study(config.study))
    if config.out is None:
        return Output({"study": text}, text.splitlines())
    try:
        with config.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(
            f"'{config.out}' exists already; name another file, nothing is overwritten"
        ) from None
    return Output({"study": text, "out": str(config.out)}, [f"study: {config.out}"])


def run_plot(config: "configs.PlotConfig") -> Mapping[str, Path]:
    from dalda.workflows.plot import plot

    return {"figure": plot(config.runs, config.out, panels=config.panels, epoch=config.epoch)}


def run_review(config: "configs.ReviewConfig") -> "ReviewReport":
    from dalda.workflows.review import review

    return review(config.out, config.port, host=config.host, browser=config.browser)


def run_doctor(config: "configs.DoctorConfig") -> MachineReport:
    from dalda.doctor import examine

    return MachineReport(examine())
