"""From the folders of runs to a figure."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dalda.errors import UserError
from dalda.evaluation.results import REAL, TABLE, planned_trials, read_results
from dalda.generation.synthetic_dataset import SETTINGS, SyntheticDataset
from dalda.reporting.curves import StudyFigure, study_figure
from dalda.types import TrialResult
from dalda.workflows.results import RUN_READERS, result_of_table

PANELS = ("all", "shots", "classes", "lambda")
EPOCHS = ("last", "best")


def plot(runs: Sequence[Path], out: Path, *, panels: str = "all", epoch: str = "last") -> Path:
    """Draws accuracy over shots, gains per class and lambda against the score, of all runs in one figure.

    `epoch` is `last`, or `best`: the epoch of each arm and number of shots whose mean over seeds is best on
    the very images it is measured on, which flatters.
    Raises UserError for folders without results.
    """
    for option, value, known in (("--panels", panels, PANELS), ("--epoch", epoch, EPOCHS)):
        if value not in known:
            raise UserError(f"{option} cannot be '{value}'; choose one of {', '.join(known)}")
    results: list[TrialResult] = []
    clouds: dict[str, list[tuple[float, float]]] = {}
    found = {folder: read_run(folder, epoch) for folder in runs}
    for folder, name in _names(runs).items():
        arms = {(x.dataset, x.arm) for x in found[folder]}
        others = {(x.dataset, x.arm) for other in runs if other != folder for x in found[other]}
        names = {arm: arm for _, arm in arms}
        if arms & others:
            base = folder.resolve().name
            names = {arm: name if arm == base else f"{name}: {arm}" for arm in names}
        results += [replace(x, arm=names[x.arm]) for x in found[folder]]
        clouds |= {names.get(arm, arm): points for arm, points in read_clouds(folder).items()}
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


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Folder to the shortest end of its path that no other folder has."""
    parts = {folder: folder.resolve().parts for folder in folders}
    names = {}
    for folder, own in parts.items():
        lengths = range(1, len(own) + 1)
        ends = [{other[-n:] for key, other in parts.items() if key != folder} for n in lengths]
        length = next((n for n in lengths if own[-n:] not in ends[n - 1]), len(own))
        names[folder] = "/".join(own[-length:])
    return names


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
    """The trials of a folder, in whichever format it is. Raises UserError where there are none."""
    results = read_results(folder)
    if results:
        return _at_best_epoch(results) if epoch == "best" else results
    if not (folder / TABLE).is_file():
        found = (reader(folder, epoch) for reader in RUN_READERS.values())
        results = next((trials for trials in found if trials), [])
        if not results:
            raise UserError(f"'{folder}' holds no results; name a folder of a run")
        return results
    if epoch == "best":
        raise UserError(f"'{folder}' has no accuracy of each epoch; leave --epoch best out")
    return _tidy(_rows(folder / TABLE), folder / TABLE)


def _at_best_epoch(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The results at one epoch for all seeds of an arm and number of shots: the best one on the mean.

    Which images were correctly classified at that epoch is not known.
    """
    chosen = []
    for result in results:
        group = [x.epoch_accuracy for x in results if (x.arm, x.shots) == (result.arm, result.shots)]
        length = min(map(len, group))
        best = max(range(length), key=lambda epoch: sum(curve[epoch] for curve in group), default=None)
        accuracy = result.accuracy if best is None else result.epoch_accuracy[best]
        chosen.append(replace(result, accuracy=accuracy, right=(), images=()))
    return chosen


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UserError(f"the table '{path}' cannot be read; make it again") from None


def _tidy(rows: Sequence[Mapping[str, str]], path: Path) -> list[TrialResult]:
    scores: dict[tuple[str, str, str, str], dict[str, float]] = {}
    try:
        for row in rows:
            key = (row["dataset"], row["arm"], row["seed"], row["shots"])
            scores.setdefault(key, {})[row["metric"]] = float(row["value"] or "nan")
        return [
            result_of_table(
                dataset,
                arm,
                seed,
                shots,
                values["accuracy"],
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


def read_clouds(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(CLIP class probability, lambda) of the images of each arm that was scored."""
    sets = {(trial.arm, trial.synthetic) for trial in planned_trials(folder) if trial.synthetic}
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
