"""Result tables of the original DALDA code: results_{seed}_{shots}.csv, each with all earlier trials."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dalda.compat.literal import read_config
from dalda.errors import UserError
from dalda.storage import csv_text, read_csv, write
from dalda.types import TrialResult
from dalda.workflows.protocols import Curves
from dalda.workflows.results import result_of_table

COLUMNS = ("", "seed", "examples_per_class", "epoch", "value", "metric", "split")
TABLE = re.compile(r"results_(\d+)_(\d+|all)\.csv")
PARTS = ("training", "validation")
_Trials = dict[tuple[str, str], dict[int, dict[str, float]]]
"""By seed and number of shots, then by epoch, the value of each metric."""


def csv_rows(result: TrialResult, curves: Curves | None, epochs: int) -> Iterable[list[Any]]:
    """One trial: every epoch of the curves, or else the last epoch of the validation images alone.

    A class that was not drawn in an epoch counts as 0, as in the original DALDA code.
    """
    start = [result.seed, result.shots]
    if curves is None:
        shares = [0.0 if value != value else value for value in result.class_accuracy]
        yield [*start, epochs - 1, result.loss, "Loss", "Validation"]
        yield [*start, epochs - 1, sum(shares) / len(shares), "Accuracy", "Validation"]
        for name, value in zip(result.classes, shares, strict=True):
            yield [*start, epochs - 1, value, f"Accuracy {name.title()}", "Validation"]
        return
    filled = {
        name: [[0.0 if value != value else value for value in epoch] for epoch in values]
        for name, values in curves.items()
    }
    for epoch in range(len(curves["training_loss"])):
        for number, name in enumerate(["", *result.classes]):
            for metric in ("loss", "accuracy"):
                for part in PARTS:
                    values = filled[f"{part}_{metric}"][epoch]
                    value = values[number - 1] if name else sum(values) / len(values)
                    yield [*start, epoch, value, f"{metric} {name}".strip().title(), part.title()]


def write_results(
    folder: Path,
    trials: Sequence[tuple[TrialResult, Curves | None]],
    epochs: int,
    earlier: Sequence[Sequence[Any]] = (),
) -> None:
    """A table for each trial, with the rows of all trials up to it; `earlier` rows come first."""
    rows = [list(row) for row in earlier]
    for result, curves in trials:
        rows += csv_rows(result, curves, epochs)
        table = csv_text([COLUMNS, *([number, *row] for number, row in enumerate(rows))])
        write(folder / f"results_{result.seed}_{result.shots or 'all'}.csv", table, sync=False)


def tables_in(folder: Path) -> dict[tuple[int, int | None], Path]:
    """The tables of a folder by seed and shots."""
    return {
        (int(named[1]), None if named[2] == "all" else int(named[2])): path
        for path in sorted(folder.glob("results_*.csv"))
        if (named := TABLE.fullmatch(path.name))
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table by column. Raises UserError for a file that is no such table."""
    what = "a result table of the original DALDA code"
    rows = read_csv(path, what=what, needs=COLUMNS[1:])
    try:
        for row in rows:
            int(row["epoch"]), int(row["seed"]), float(row["value"] or "nan")
    except ValueError:
        raise UserError(f"'{path}' is not {what}; restore it or name another folder") from None
    return rows


def read_run(place: Path, epoch: str) -> list[TrialResult]:
    """The trials of a folder of tables, of several such folders, or of a plot configuration.

    A data set is read off a folder such as `pets-baselines`.
    """
    config = plot_config(place)
    if config is not None:
        return read_plotted(config, epoch)
    if tables_in(place):
        return read_tables(place, epoch, dataset_of(place.resolve().parent))
    inside = sorted(folder for folder in place.glob("*/") if tables_in(folder))
    return [trial for folder in inside for trial in read_tables(folder, epoch, dataset_of(place.resolve()))]


def dataset_of(folder: Path) -> str:
    """The data set of the runs in a folder, by its name as in the published configurations."""
    name = folder.name.removesuffix("-baselines")
    return "" if name == folder.name else name


def plot_config(place: Path) -> Path | None:
    """A plot configuration by its path or its name, without `.py` and in `configs_plot` too."""
    named = (
        path.with_name(f"{path.name.removesuffix('.py')}.py") for path in (place, "configs_plot" / place)
    )
    return None if place.is_dir() else next((path for path in named if path.is_file()), None)


def read_plotted(config: Path, epoch: str) -> list[TrialResult]:
    """The trials of a configuration of the original plot: each method in each data set's folder.

    Raises UserError for a field that is missing or is no list of strings.
    """
    fields = {name: found.value for name, found in read_config(config).items()}
    lists: dict[str, list[str]] = {}
    for name in ("logdirs", "datasets", "method_dirs", "method_names"):
        value = fields.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(f"{config}: '{name}' must be a list of strings; add it")
        lists[name] = [str(item) for item in value]
    trials = []
    for logdir, dataset in zip(lists["logdirs"], lists["datasets"], strict=False):
        for method, name in zip(lists["method_dirs"], lists["method_names"], strict=False):
            found = read_tables(Path(logdir) / method, epoch, dataset)
            trials += [replace(trial, arm=name) for trial in found]
    seeds = fields.get("trial")
    return [trial for trial in trials if not isinstance(seeds, int) or trial.seed < seeds]


def read_tables(folder: Path, epoch: str, dataset: str) -> list[TrialResult]:
    """The trials of a folder of tables; none where there is no table.

    `best` is the rule of the original DALDA code: one epoch for all seeds of a number of shots, the one
    whose mean over seeds is best on the validation images. Each seed counts once (the original DALDA code
    reads earlier seeds several times, because the tables are cumulative).
    """
    trials: _Trials = {}
    for path in tables_in(folder).values():
        for row in read_rows(path):
            if row["split"] == "Validation" and row["metric"].startswith("Accuracy"):
                epochs = trials.setdefault((row["seed"], row["examples_per_class"]), {})
                epochs.setdefault(int(row["epoch"]), {})[row["metric"]] = float(row["value"] or "nan")
    try:
        return _results_of(trials, epoch, dataset, folder.resolve().name)
    except (KeyError, ValueError):
        raise UserError(
            f"the tables in '{folder}' are no result tables of the original DALDA code; restore them or "
            "name another folder"
        ) from None


def _results_of(trials: _Trials, epoch: str, dataset: str, arm: str) -> list[TrialResult]:
    """The results of the trials. Raises KeyError and ValueError for tables that lack something."""
    results = []
    for (seed, shots), epochs in trials.items():
        chosen = max(epochs)
        if epoch == "best":
            same = [other for (_, other_shots), other in trials.items() if other_shots == shots]
            chosen = max(
                epochs,
                key=lambda number: (sum(x[number]["Accuracy"] for x in same if number in x), -number),
            )
        values = dict(epochs[chosen])
        accuracy = values.pop("Accuracy")
        classes = {name.removeprefix("Accuracy "): value for name, value in values.items()}
        results.append(result_of_table(dataset, arm, seed, shots, accuracy, classes))
    return results
