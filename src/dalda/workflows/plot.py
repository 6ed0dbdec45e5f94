"""From the folders of runs, ours or the original code's, to a figure."""

import csv
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SETTINGS, SyntheticDataset
from dalda.reporting.curves import Point, StudyFigure, study_figure
from dalda.workflows.results import REAL, RESULTS, read_plan

PANELS = ("all", "shots", "classes", "lambda")
EPOCHS = ("last", "best")
TABLE = re.compile(r"results_\d+_(\d+|all)\.csv")


@dataclass(frozen=True)
class Score:
    """What one trial came to."""

    dataset: str
    arm: str
    seed: int
    shots: str
    accuracy: float
    classes: Mapping[str, float]


def plot(runs: Sequence[Path], out: Path, *, panels: str = "all", epoch: str = "last") -> Path:
    """Draws accuracy over shots, gains per class and lambda against the score, of all runs in one figure.

    `epoch` is `last`, or `best`: chosen on the very images it is measured on, as the original code plots.
    Raises UserError for folders without results.
    """
    for option, value, known in (("--panels", panels, PANELS), ("--epoch", epoch, EPOCHS)):
        if value not in known:
            raise UserError(f"{option} cannot be '{value}'; choose one of {', '.join(known)}")
    scores: list[Score] = []
    clouds: dict[str, list[tuple[float, float]]] = {}
    for folder in runs:
        found, own = read_run(folder, epoch), read_clouds(folder)
        taken = {(one.dataset, one.arm) for one in scores}
        if any((one.dataset, one.arm) in taken for one in found):
            found = [replace(one, arm=f"{folder.resolve().name}: {one.arm}") for one in found]
            own = {f"{folder.resolve().name}: {arm}": points for arm, points in own.items()}
        scores += found
        clouds.update(own)
    plans = [entry for folder in runs for entry in read_plan(folder)]
    figure = drawn_from(
        scores, clouds, {str(one.get("arm")) for one in plans if one.get("synthetic") is None}
    )
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


def drawn_from(
    scores: Sequence[Score], clouds: Mapping[str, list[tuple[float, float]]], reals: Collection[str] = ()
) -> StudyFigure:
    """Means and intervals over seeds; gains over the arm of real images, paired by seed.

    That arm is the first one that `reals` names, else the one called `real`; without it there are no gains.
    """
    from dalda.evaluation.statistics import Interval, accuracy_interval, interval

    def point(found: Interval) -> Point:
        return Point(found.mean, found.low, found.high)

    datasets = list(dict.fromkeys(one.dataset for one in scores))
    lines: dict[str, dict[str, dict[int, Score]]] = {}
    real_of: dict[str, str] = {}
    dataset_of: dict[str, str] = {}
    for one in scores:
        name = one.arm if len(datasets) == 1 else f"{one.dataset}: {one.arm}"
        lines.setdefault(name, {}).setdefault(one.shots, {})[one.seed] = one
        dataset_of[name] = one.dataset
        if one.arm in (reals or {REAL}):
            real_of.setdefault(one.dataset, name)
    gain, classes = {}, {}
    for name, line in lines.items():
        real = real_of.get(dataset_of[name], name)
        if name == real:
            continue
        pairs = {
            shots: [
                (one, lines[real][shots][seed]) for seed, one in ones.items() if seed in lines[real][shots]
            ]
            for shots, ones in line.items()
            if shots in lines[real]
        }
        gain[name] = {
            shots: point(interval([one.accuracy - other.accuracy for one, other in both]))
            for shots, both in pairs.items()
            if both
        }
        classes[name] = _class_gains([pair for both in pairs.values() for pair in both])
    seeds = len({one.seed for one in scores})
    return StudyFigure(
        accuracy={
            name: {
                shots: point(accuracy_interval([one.accuracy for one in ones.values()]))
                for shots, ones in line.items()
            }
            for name, line in lines.items()
        },
        gain=gain,
        real=next(iter(real_of.values())) if len(real_of) == 1 else REAL,
        classes=classes,
        clouds=clouds,
        title=f"{', '.join(filter(None, datasets))}: {seeds} seeds" if any(datasets) else "",
    )


def _class_gains(pairs: Sequence[tuple[Score, Score]]) -> dict[str, float]:
    """The mean gain of each class."""
    gains: dict[str, list[float]] = {}
    for one, other in pairs:
        for label, value in one.classes.items():
            difference = value - other.classes.get(label, math.nan)
            if math.isfinite(difference):
                gains.setdefault(label, []).append(difference)
    return {label: sum(values) / len(values) for label, values in gains.items()}


def read_run(folder: Path, epoch: str) -> list[Score]:
    """The trials of a folder. Raises UserError where there are none."""
    if (folder / RESULTS).is_file():
        return _tidy(_rows(folder / RESULTS), folder / RESULTS, epoch)
    tables = sorted(path for path in folder.glob("results_*.csv") if TABLE.fullmatch(path.name))
    if not tables:
        raise UserError(
            f"'{folder}' has neither {RESULTS} nor results_SEED_SHOTS.csv; name a folder of a run"
        )
    return _of_original([row for table in tables for row in _rows(table)], folder, epoch)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UserError(f"the table '{path}' cannot be read; make it again") from None


def _tidy(rows: Sequence[Mapping[str, str]], path: Path, epoch: str) -> list[Score]:
    overall = "accuracy" if epoch == "last" else "best_epoch_accuracy"
    scores: dict[tuple[str, str, str, str], dict[str, float]] = {}
    try:
        for row in rows:
            key = (row["dataset"], row["arm"], row["seed"], row["shots"])
            scores.setdefault(key, {})[row["metric"]] = float(row["value"] or "nan")
        return [
            Score(
                dataset,
                arm,
                int(seed),
                shots or "all",
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


def _of_original(rows: Sequence[Mapping[str, str]], folder: Path, epoch: str) -> list[Score]:
    """Trials from the original code's tables, whose rows may come several times, since they are
    cumulative."""
    trials: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    try:
        for row in rows:
            if row["split"] == "Validation" and row["metric"].startswith("Accuracy"):
                epochs = trials.setdefault((row["seed"], row["examples_per_class"]), {})
                epochs.setdefault(int(row["epoch"]), {})[row["metric"]] = float(row["value"] or "nan")
        scores = []
        for (seed, shots), epochs in trials.items():
            last = max(epochs)
            if epoch == "best":
                last = max(epochs, key=lambda number: (epochs[number]["Accuracy"], -number))
            values = dict(epochs[last])
            accuracy = values.pop("Accuracy")
            named = {name.removeprefix("Accuracy "): value for name, value in values.items()}
            scores.append(Score("", folder.resolve().name, int(seed), shots or "all", accuracy, named))
    except (KeyError, ValueError, TypeError, AttributeError):
        raise UserError(
            f"the tables in '{folder}' are not the original code's; name another folder"
        ) from None
    return scores


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
