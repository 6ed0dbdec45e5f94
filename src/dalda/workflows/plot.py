"""Draws finished runs in one figure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dalda.datasets.image_folder import read_folder, refuse_output_inside
from dalda.errors import UserError
from dalda.evaluation.comparison import ArmNumbers, compare_arms
from dalda.evaluation.results import TABLE, planned_trials, read_results, read_run_settings
from dalda.generation.set_settings import SETTINGS
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.reporting.plots import save_figure
from dalda.reporting.study_figure import DatasetPanel, study_figure
from dalda.reporting.text import distinct_names
from dalda.storage import read_csv
from dalda.types import REAL, TrialResult
from dalda.workflows.results import RUN_READERS, result_of_table

PANELS = ("all", "shots", "classes", "scales")
EPOCHS = ("last", "best")


def plot(runs: Sequence[Path], out: Path, *, panels: str = "all", epoch: str = "last") -> Path:
    """Draws accuracy and gain over shots, gains per class, and IP-Adapter scales of all runs in one figure.

    Arms of one name in several runs get names by what differs in the runs' paths. `epoch` is `last`, or
    `best`: the epoch of each arm and number of shots whose mean over seeds is best on the very images it is
    measured on, which flatters. Raises UserError for folders without results.
    """
    for option, value, known in (("--panels", panels, PANELS), ("--epoch", epoch, EPOCHS)):
        if value not in known:
            raise UserError(f"{option} cannot be '{value}'; choose one of {', '.join(known)}")
    folders = list({folder.resolve(): folder for folder in runs}.values())
    for folder in folders:
        _refuse_among_images(out, folder)
    names = dict(zip(folders, distinct_names(folders), strict=True))
    results = {names[folder]: run_results(folder, epoch) for folder in folders}
    scales = {names[folder]: read_scales(folder) for folder in folders}
    datasets = dict.fromkeys(trial.dataset for trials in results.values() for trial in trials)
    drawn = [dataset_panel(dataset, results) for dataset in datasets]
    if panels != "all":
        drawn = [
            replace(
                panel,
                accuracy=panel.accuracy if panels == "shots" else {},
                gains=panel.gains if panels == "shots" else {},
                class_gains=panel.class_gains if panels == "classes" else {},
            )
            for panel in drawn
        ]
    points = {
        series_name(run, arm, scales): dots for run, arms in scales.items() for arm, dots in arms.items()
    }
    return save_figure(study_figure(drawn, points if panels in ("all", "scales") else {}), out)


def _refuse_among_images(out: Path, run: Path) -> None:
    """Raises UserError where the figure would become an image of the run's own data set."""
    try:
        data = read_folder(Path(str(read_run_settings(run).settings["dataset"])))
    except (UserError, KeyError):
        return  # not a folder, or no longer there
    refuse_output_inside(out, data)


def series_name(run: str, arm: str, arms: Mapping[str, Collection[str]]) -> str:
    """The arm's name, with that of its run where several runs have such an arm."""
    return f"{run}: {arm}" if sum(arm in known for known in arms.values()) > 1 else arm


def dataset_panel(dataset: str, results: Mapping[str, Sequence[TrialResult]]) -> DatasetPanel:
    """The arms of all runs on one data set; each run's gains are over its own real images alone.

    A run without that arm is compared with the only one that another run has, if there is one.
    """
    runs = {run: [trial for trial in trials if trial.dataset == dataset] for run, trials in results.items()}
    names = {run: {trial.arm for trial in trials} for run, trials in runs.items()}
    with_real = [run for run in runs if REAL in names[run]]
    arms: dict[str, ArmNumbers] = {}
    for run, trials in runs.items():
        has_real = run in with_real or len(with_real) != 1
        shared = [] if has_real else [run for run in runs[with_real[0]] if run.arm == REAL]
        numbers = compare_arms([*shared, *trials], REAL)
        arms |= {
            series_name(run, name, names): arm for name, arm in numbers.items() if has_real or name != REAL
        }
    arms = dict(sorted(arms.items(), key=lambda arm: bool(arm[1].gains)))  # real images alone come first
    seeds = len({trial.seed for trials in runs.values() for trial in trials})
    return DatasetPanel(
        title=", ".join(filter(None, (dataset, f"{seeds} seeds"))),
        accuracy={
            name: {shots: summary.accuracy for shots, summary in arm.summaries.items()}
            for name, arm in arms.items()
        },
        gains={
            name: {shots: comparison.gain for shots, comparison in arm.gains.items()}
            for name, arm in arms.items()
            if arm.gains
        },
        class_gains={name: arm.overall.class_gains for name, arm in arms.items() if arm.overall},
    )


def run_results(folder: Path, epoch: str) -> list[TrialResult]:
    """The trials of a folder, in whichever format it is. Raises UserError where there are none."""
    results = read_results(folder)
    if results:
        return _at_best_epoch(results) if epoch == "best" else results
    if not (folder / TABLE).is_file():
        readings = (reader(folder, epoch) for reader in RUN_READERS.values())
        results = next((trials for trials in readings if trials), [])
        if not results:
            what = f"'{folder}' holds no results" if folder.exists() else f"there is no folder '{folder}'"
            raise UserError(f"{what}; name a folder of a run")
        return results
    if epoch == "best":
        raise UserError(f"'{folder}' has no accuracy of each epoch; leave --epoch best out")
    return _results_of_table(folder / TABLE)


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


def _results_of_table(path: Path) -> list[TrialResult]:
    """The trials of a results.csv whose results/*.json are gone."""
    rows = read_csv(path, what="a table of results", needs=("dataset", "arm", "seed", "shots", "metric"))
    trials: dict[tuple[str, str, str, str], dict[str, float]] = {}
    try:
        for row in rows:
            key = (row["dataset"], row["arm"], row["seed"], row["shots"])
            trials.setdefault(key, {})[row["metric"]] = float(row["value"] or "nan")
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
            for (dataset, arm, seed, shots), values in trials.items()
        ]
    except (KeyError, ValueError, TypeError):
        raise UserError(f"'{path}' is no table of results; make it again") from None


def read_scales(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(CLIP class probability, IP-Adapter scale) of the images that each arm of a run was trained with."""
    sets = {(trial.arm, trial.synthetic) for trial in planned_trials(folder) if trial.synthetic}
    scales: dict[str, list[tuple[float, float]]] = {}
    for arm, place in sorted(sets):
        # The run's own sets are found also after it was moved, or from another working folder.
        inside = folder / "synthetic" / Path(place).name
        path = inside if (inside / SETTINGS).is_file() else Path(place)
        if (path / SETTINGS).is_file():
            scales.setdefault(arm, []).extend(
                (image.source_clip_probability, image.ip_adapter_scale)
                for image in SyntheticDataset.existing(path).synthetic_images()
                if image.source_clip_probability is not None
            )
    return scales
