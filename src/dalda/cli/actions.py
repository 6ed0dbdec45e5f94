"""The commands whose workflow takes other arguments than their configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.terminal import table

if TYPE_CHECKING:
    from dalda import config as configs
    from dalda.workflows import reports


@dataclass(frozen=True)
class Output:
    """A result whose JSON, lines or exit code are not the usual ones."""

    json: Any
    lines: list[str]
    exit_code: int = 0


def run_download(config: "configs.DownloadConfig") -> Output:
    from dalda.datasets.download import download

    dataset = download(config.dataset, config.root, config.mirror)
    images = {part: sum(map(len, files.values())) for part, files in dataset.parts.items()}
    counts = {"classes": len(dataset.classes), "images": images}
    lines = [f"{config.dataset}: {len(dataset.classes)} classes in {config.root}"]
    return Output({"dataset": config.dataset, "root": config.root, **counts}, lines)


def run_split(config: "configs.SplitConfig") -> Output:
    from dalda.datasets.few_shot import sample_few_shot, split_as_json
    from dalda.datasets.registry import load_dataset

    split = sample_few_shot(
        load_dataset(config.dataset, config.root),
        part=config.split,
        seed=config.seed,
        shots=config.shots,
        split_strategy=config.split_strategy,
        hold_out=config.hold_out,
    )
    rows = [(image.label, image.path) for image in split.images]
    return Output(split_as_json(split), table([("class", "image"), *rows]))


def run_score(config: "configs.ScoreConfig") -> Output:
    from dalda.workflows.real_images import score_table

    images = score_table(config, config.model, config.device, config.out)
    low = sum(image["source_clip_probability"] <= 0.3 for image in images)
    rows = [(image["label"], f"{image['source_clip_probability']:.5f}", image["path"]) for image in images]
    lines = table([("class", "CLIP class probability", "image"), *rows])
    lines.append(f"{low} of {len(images)} images have a CLIP class probability of at most 0.3")
    return Output({"dataset": config.dataset, "at_most_0.3": low, "images": images}, lines)


def run_captions(config: "configs.CaptionConfig") -> Output:
    from dalda.cli.output import lines_of
    from dalda.workflows.captions import write_captions

    report = write_captions(config)
    samples = report.sample(config.sample) if config.sample else {}
    lines = [f"{name}: {caption}" for name, captions in samples.items() for caption in captions]
    return Output(report.as_dict(), [*lines_of(report), *lines], 1 if report.missing else 0)


def run_study(config: "configs.RunConfig") -> "reports.StudyReport":
    from dalda.workflows.experiment import run_experiment

    return run_experiment(config.study, **_study_options(config), cluster=config)


def dry_run_study(config: "configs.RunConfig") -> "reports.StudyDryRun":
    from dalda.workflows.dry_run import dry_run_experiment

    return dry_run_experiment(config.study, **_study_options(config))


def _study_options(config: "configs.RunConfig") -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("out", "root", "original", "only")}


def run_convert(config: "configs.ConvertConfig") -> Output:
    from dalda.config.study_file import read_study, study_as_yaml

    text = study_as_yaml(read_study(config.study))
    if config.out is None:
        return Output({"study": text}, text.splitlines())
    from dalda.storage import write_new

    write_new(config.out, text)
    return Output({"study": text, "out": config.out}, [f"study: {config.out}"])


def run_export(config: "configs.ExportConfig") -> "reports.ExportReport | reports.ClassifierExport":
    if config.to == "onnx":
        from dalda.workflows.onnx_export import export_onnx

        return export_onnx(config)
    from dalda.workflows.export import export

    return export(config)


def run_plot(config: "configs.PlotConfig") -> Mapping[str, Path]:
    from dalda.workflows.plot import plot

    return {"figure": plot(config.runs, config.out, panels=config.panels, epoch=config.epoch)}


def run_review(config: "configs.ReviewConfig") -> "reports.ReviewReport":
    from dalda.workflows.review import review

    return review(config.out, config.port, host=config.host, browser=config.browser)


def run_doctor(config: "configs.DoctorConfig") -> Output:
    from dalda.doctor import examine, lines_of_checks

    checks = examine()
    return Output({"checks": checks}, lines_of_checks(checks))
