"""From the folders of runs, ours or the original code's, to a figure."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SETTINGS, SyntheticDataset
from dalda.reporting.curves import StudyFigure, study_figure
from dalda.types import TrialResult
from dalda.workflows.results import REAL, RESULTS, read_plan, read_results

PANELS = ("all", "shots", "classes", "lambda")
EPOCHS = ("last", "best")
TABLE = re.compile(r"results_\d+_(\d+|all)\.csv")


def plot(runs: Sequence[Path], out: Path, *, panels: str = "all", epoch: str = "last") -> Path:
    """Draws accuracy over shots, gains per class and lambda against the score, of all runs in one figure.

    `epoch` is `last`, or `best`: chosen on the very images it is measured on, as the original code plots.
    Raises UserError for folders without results.
    """
    for option, value, known in (("--panels", panels, PANELS), ("--epoch", epoch, EPOCHS)):
        if value not in known:
            raise UserError(f"{option} cannot be '{value}'; choose one of {', '.join(known)}")
    results: list[TrialResult] = []
    clouds: dict[str, list[tuple[float, float]]] = {}
    for folder in runs:
        found, scales = read_run(folder, epoch), read_clouds(folder)
        taken = {(one.dataset, one.arm) for one in results}
        if any((one.dataset, one.arm) in taken for one in found):
            found = [replace(one, arm=f"{folder.resolve().name}: {one.arm}") for one in found]
            scales = {f"{folder.resolve().name}: {arm}": points for arm, points in scales.items()}
        results += found
        clouds.update(scales)
    figure = figure_of(results, clouds)
    if panels != "all":
        shots, classes = panels == "shots", panels == "classes"
        figure = replace(
            figure,
            accuracy=figure.accuracy if shots else {},
            gain=figure.gain if shots else {},
            classes=figure.classes if classes else {},
            clouds=figure.clouds if panels == "lambda" else {},
        )
    return study_figure(figure, out)


def figure_of(
    results: Sequence[TrialResult], clouds: Mapping[str, list[tuple[float, float]]]
) -> StudyFigure:
    """Accuracies and gains over the arm of real images; without one called `real` there are no gains."""
    from dalda.evaluation.comparison import ArmNumbers, compare_arms

    datasets = list(dict.fromkeys(one.dataset for one in results))
    arms: dict[str, ArmNumbers] = {}
    for dataset in datasets:
        numbers = compare_arms([one for one in results if one.dataset == dataset], REAL)
        arms |= {arm if len(datasets) == 1 else f"{dataset}: {arm}": one for arm, one in numbers.items()}
    seeds = len({one.seed for one in results})
    return StudyFigure(
        accuracy={
            arm: {shots: one.accuracy for shots, one in numbers.summaries.items()}
            for arm, numbers in arms.items()
        },
        gain={
            arm: {shots: one.gain for shots, one in numbers.gains.items()}
            for arm, numbers in arms.items()
            if numbers.gains
        },
        real=REAL,
        classes={
            arm: {label: gain.mean for label, gain in numbers.overall.class_gains.items()}
            for arm, numbers in arms.items()
            if numbers.overall is not None
        },
        clouds=clouds,
        title=f"{', '.join(filter(None, datasets))}: {seeds} seeds" if any(datasets) else "",
    )


def read_run(folder: Path, epoch: str) -> list[TrialResult]:
    """The trials of a folder. Raises UserError where there are none."""
    results = read_results(folder)
    if results:
        return [_best_epoch(one) for one in results] if epoch == "best" else results
    if (folder / RESULTS).is_file():
        return _tidy(_rows(folder / RESULTS), folder / RESULTS, epoch)
    tables = sorted(path for path in folder.glob("results_*.csv") if TABLE.fullmatch(path.name))
    if not tables:
        raise UserError(
            f"'{folder}' has neither {RESULTS} nor results_SEED_SHOTS.csv; name a folder of a run"
        )
    return _of_original([row for table in tables for row in _rows(table)], folder, epoch)


def _best_epoch(result: TrialResult) -> TrialResult:
    """The result with the best epoch's accuracy; which images that epoch got right is not known."""
    return replace(
        result, accuracy=max(result.epoch_accuracy, default=result.accuracy), right=(), images=()
    )


def _of_table(
    dataset: str, arm: str, seed: str, shots: str, accuracy: float, classes: Mapping[str, float]
) -> TrialResult:
    """A trial of which only a table's accuracies are known."""
    return TrialResult(
        dataset=dataset,
        arm=arm,
        seed=int(seed),
        shots=None if shots in ("", "all") else int(shots),
        classes=tuple(classes),
        accuracy=accuracy,
        class_accuracy=tuple(classes.values()),
        loss=math.nan,
        real_images=0,
        synthetic_images=0,
        right=(),
        confusion=((0,) * len(classes),) * len(classes),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UserError(f"the table '{path}' cannot be read; make it again") from None


def _tidy(rows: Sequence[Mapping[str, str]], path: Path, epoch: str) -> list[TrialResult]:
    overall = "accuracy" if epoch == "last" else "best_epoch_accuracy"
    scores: dict[tuple[str, str, str, str], dict[str, float]] = {}
    try:
        for row in rows:
            key = (row["dataset"], row["arm"], row["seed"], row["shots"])
            scores.setdefault(key, {})[row["metric"]] = float(row["value"] or "nan")
        return [
            _of_table(
                dataset,
                arm,
                seed,
                shots,
                values[overall],
                {
                    name.removeprefix("accuracy "): value
                    for name, value in values.items()
                    if name[:9] == "accuracy "
                },
            )
            for (dataset, arm, seed, shots), values in scores.items()
        ]
    except (KeyError, ValueError, TypeError):
        raise UserError(f"'{path}' is no table of results; make it again") from None


def _of_original(rows: Sequence[Mapping[str, str]], folder: Path, epoch: str) -> list[TrialResult]:
    """Trials from the original code's tables, whose rows may come several times, since they are
    cumulative."""
    trials: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    try:
        for row in rows:
            if row["split"] == "Validation" and row["metric"].startswith("Accuracy"):
                epochs = trials.setdefault((row["seed"], row["examples_per_class"]), {})
                epochs.setdefault(int(row["epoch"]), {})[row["metric"]] = float(row["value"] or "nan")
        results = []
        for (seed, shots), epochs in trials.items():
            last = max(epochs)
            if epoch == "best":
                last = max(epochs, key=lambda number: (epochs[number]["Accuracy"], -number))
            values = dict(epochs[last])
            accuracy = values.pop("Accuracy")
            named = {name.removeprefix("Accuracy "): value for name, value in values.items()}
            results.append(_of_table("", folder.resolve().name, seed, shots, accuracy, named))
    except (KeyError, ValueError, TypeError, AttributeError):
        raise UserError(
            f"the tables in '{folder}' are not the original code's; name another folder"
        ) from None
    return results


def read_clouds(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(CLIP class probability, lambda) of the images of each arm that was scored."""
    sets = {
        (str(one.get("arm")), str(one["synthetic"])) for one in read_plan(folder) if one.get("synthetic")
    }
    clouds: dict[str, list[tuple[float, float]]] = {}
    for arm, place in sorted(sets):
        # The run's own sets are found also after it was moved, or seen from another folder.
        inside = folder / "synthetic" / Path(place).name
        made = inside if (inside / SETTINGS).is_file() else Path(place)
        if (made / SETTINGS).is_file():
            for one in SyntheticDataset.existing(made).samples():
                if one.source_clip_probability is not None:
                    clouds.setdefault(arm, []).append((one.source_clip_probability, one.ip_adapter_scale))
    return clouds
