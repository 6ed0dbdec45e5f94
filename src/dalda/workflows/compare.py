"""Compares augmentation methods: a study with an arm a method, its table, figure and image sheet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from dalda.config import CompareConfig
from dalda.config.compare import arms_of_methods
from dalda.config.experiment import ArmConfig, Study
from dalda.config.study_file import checked_study
from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.evaluation.comparison import ArmNumbers
from dalda.evaluation.results import RunFolder
from dalda.evaluation.verdict import Answer
from dalda.generation.set_settings import SETTINGS
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.base import method_named, method_options
from dalda.reporting.contact_sheet import CELL, SheetRow, drawn_sheet, png_of
from dalda.reporting.plots import rendered
from dalda.reporting.study_figure import gains_figure
from dalda.storage import exists, write
from dalda.types import REAL, Interval, SyntheticImage
from dalda.workflows.dry_run import dry_run_experiment
from dalda.workflows.experiment import finished, run_experiment, run_of
from dalda.workflows.plot import dataset_panel
from dalda.workflows.reports import StudyDryRun
from dalda.workflows.trials import Task, tasks_of

TABLE, FIGURE, SHEET = "comparison.md", "comparison.png", "sheet.png"
MAX_SOURCES = 6
"""Source images on the sheet."""


@dataclass(frozen=True)
class ComparedArm:
    """One method of a comparison."""

    name: str
    gain: Interval | None
    """Over real images alone, averaged over the numbers of shots; None for these themselves."""
    accuracy: Mapping[str, Interval]
    """By shots (`all` is no limit)."""
    synthetic_images: int
    """Per classifier, at the most shots."""
    fitting_seconds: float
    generating_seconds: float
    """Over all shots and seeds, without the loading of models."""


@dataclass(frozen=True)
class CompareReport:
    """Methods by their gain, the largest first, with what they cost."""

    out: Path
    arms: tuple[ComparedArm, ...]
    answer: Answer
    """The verdicts, each against the strongest baseline."""
    trials: int
    trained: int
    generated: int
    seconds: float
    excluded: Mapping[str, Mapping[str, int]]
    table: Path
    figure: Path
    sheet: Path

    @property
    def heading(self) -> tuple[str, ...]:
        shots = (f"{name} shot{'' if name == '1' else 's'}" for name in self.arms[0].accuracy)
        return ("method", "gain, points", *shots, "images", "fitting, s", "generating, s")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        return [
            (
                arm.name,
                "" if arm.gain is None else arm.gain.text("+"),
                *(interval.text() for interval in arm.accuracy.values()),
                str(arm.synthetic_images),
                f"{arm.fitting_seconds:.0f}",
                f"{arm.generating_seconds:.0f}",
            )
            for arm in self.arms
        ]

    @property
    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.heading, ("---",) * len(self.heading), *self.rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |" for line in lines)


def compare_methods(config: CompareConfig) -> CompareReport:
    """Runs the study, or what is missing of it, and writes its table, figure and sheet into `config.out`.

    Raises UserError for an option that a method does not have, and for a folder of other things.
    """
    study = comparison_study(config)
    report = run_experiment(study, cluster=config)
    run, tasks = run_of(study), tasks_of(study)
    arms = sorted(
        (_row(arm, numbers, run, tasks) for arm, numbers in report.arms.items()),
        key=lambda arm: -arm.gain.mean if arm.gain else 0.0,
    )
    found = CompareReport(
        out=config.out,
        arms=tuple(arms),
        answer=report.answer,
        trials=report.trials,
        trained=report.trained,
        generated=report.generated,
        seconds=report.seconds,
        excluded=report.excluded,
        table=config.out / TABLE,
        figure=config.out / FIGURE,
        sheet=config.out / SHEET,
    )
    write(found.table, found.markdown + "\n")
    write(found.figure, _figure(study, run, tasks))
    write(found.sheet, _sheet(study, tasks))
    return found


def dry_run_compare(config: CompareConfig) -> StudyDryRun:
    """The size of the study, and how long it takes."""
    return dry_run_experiment(comparison_study(config))


def comparison_study(config: CompareConfig) -> Study:
    """Real images alone, then an arm for each method, and for each guidance scale if there are any.

    Raises UserError for an option that a method does not have.
    """
    known = arms_of_methods()
    arms: list[dict[str, Any]] = [{"name": REAL, "method": REAL}]
    methods = tuple(known) if "all" in config.methods else config.methods
    for name in methods:
        method, settings = known[name]
        options = {**_options_for(name, config.method_option), **settings}
        if config.fit_steps is not None and "fit_steps" in method_named(method).Options.model_fields:
            options = {"fit_steps": config.fit_steps, **options}
        method_options(method_named(method), options)
        arm = {"name": name, "method": method, **({"method_option": options} if options else {})}
        scales = config.guidance_scales
        arms += [{**arm, "name": f"{name} @ {scale:g}", "guidance_scale": scale} for scale in scales]
        arms += [] if scales else [arm]
    strange = {text.partition(".")[0] for text in config.method_option} - set(methods)
    if strange:
        raise UserError(
            f"--method-option is METHOD.NAME=VALUE with a method that is compared; '{min(strange)}' is none"
        )
    augment = {"model": config.model, "per_image": config.per_image, "captions": config.captions}
    if config.steps is not None:
        augment["steps"] = config.steps
    chosen = {"epochs": config.epochs, "backbone": config.backbone}
    train = {name: value for name, value in chosen.items() if value is not None}
    return checked_study(
        {
            "dataset": config.dataset,
            "root": config.root,
            "shots": config.shots,
            "seeds": tuple(range(config.seeds)),
            "augment": augment,
            "train": train,
            "arms": [ArmConfig(**arm) for arm in arms],
            "device": config.device,
            "out": config.out,
        },
        "the comparison",
    )


def _options_for(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of METHOD.NAME=VALUE that are this method's, by NAME."""
    named = {text.partition("."): value for text, value in options.items()}
    return {option: value for (method, _, option), value in named.items() if method == name}


def _row(arm: str, numbers: ArmNumbers, run: RunFolder, tasks: list[Task]) -> ComparedArm:
    sets = dict.fromkeys(task.set_id for task in tasks if task.spec.arm == arm and task.set_id)
    costs = [run.read_part(str(name), "costs") or {} for name in sets]
    return ComparedArm(
        name=arm,
        gain=None if numbers.overall is None else numbers.overall.gain,
        accuracy={shots: summary.accuracy for shots, summary in numbers.summaries.items()},
        synthetic_images=max(summary.synthetic_images for summary in numbers.summaries.values()),
        fitting_seconds=round(sum(cost.get("fitting_seconds", 0.0) for cost in costs), 1),
        generating_seconds=round(sum(cost.get("generating_seconds", 0.0) for cost in costs), 1),
    )


def _figure(study: Study, run: RunFolder, tasks: list[Task]) -> bytes:
    """The gain of each method, as PNG."""
    results = [result for result, _ in finished(run, tasks)]
    return rendered(gains_figure(dataset_panel(results[0].dataset, {"": results})), ".png")


def _sheet(study: Study, tasks: list[Task]) -> bytes:
    """The same source images through every method: a row each, for the first seed and fewest shots."""

    def small(path: Path) -> Image:
        return open_image(path, shorter=CELL)

    first = [task for task in tasks if task.spec.train.seed == tasks[0].spec.train.seed]
    few = min(first, key=lambda task: len(task.split.images)).split
    sets = {
        task.spec.arm: _by_source(task)
        for task in first
        if task.synthetic is not None and task.split.images == few.images
    }
    rows = []
    for name in few.classes[:MAX_SOURCES]:
        source = next(image for image in few.images if image.label == name)
        shown = [(arm, found[source.sha256]) for arm, found in sets.items() if source.sha256 in found]
        cells = [(small(image.path), image.prompt, image.ip_adapter_scale) for _, image in shown]
        rows.append(SheetRow(name, small(source.path), cells, [arm for arm, _ in shown]))
    heading = "Each row: a source image, then its first synthetic image by each method"
    return png_of(drawn_sheet(rows, heading=heading))


def _by_source(task: Task) -> dict[str, SyntheticImage]:
    """The first image of each source by its hash."""
    assert task.synthetic is not None
    folder = task.synthetic.out
    images = SyntheticDataset.existing(folder).synthetic_images() if exists(folder / SETTINGS) else []
    return {image.source_sha256: image for image in sorted(images, key=lambda image: -image.index)}
