"""Run folders: run.yaml, results.csv (tidy), results/<id>.json, written and read here.

A trial's id is a digest of what decides it. Its result is written when it is finished, so that the same
command trains only what is missing.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dalda.config.roles import difference, digest_of, plain
from dalda.errors import UserError
from dalda.evaluation.comparison import summarize
from dalda.evaluation.excluded import EXCLUDED, ExcludedLog
from dalda.storage import (
    csv_text,
    exists,
    list_folder,
    lock,
    make_folder,
    read_json,
    read_yaml,
    to_yaml,
    write,
)
from dalda.types import BASELINES, REAL, TrialResult

FORMAT = 1
SETTINGS, RESULTS, TABLE = "run.yaml", "results", "results.csv"
COLUMNS = ("dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value")
ROUNDING = 1e-6
"""By which a mean of shares may leave [0, 1]."""
VERSIONED = ("dalda", "torch", "transformers", "numpy", "Pillow", "kornia")


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of a run, with or without a result."""

    id: str
    arm: str
    seed: int
    shots: int | None
    synthetic: str | None = None
    """The folder of its synthetic set; None for real images alone."""


@dataclass(frozen=True)
class RunSettings:
    """What run.yaml says."""

    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What decides the numbers."""
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How each arm's classifiers are trained."""
    trials: tuple[PlannedTrial, ...] = ()
    recorded: Mapping[str, Any] = field(default_factory=dict)
    """Paths, device, versions and seconds, which may change from one run to the next."""
    format: int = FORMAT


class RunFolder:
    """The folder of one run; `command` is how messages call what makes it."""

    def __init__(self, folder: Path, command: str) -> None:
        self.folder = folder
        self.command = command
        self.excluded = ExcludedLog(folder / EXCLUDED)

    def refuse_foreign(self, leftovers: Collection[str] = ()) -> None:
        """Raises UserError unless the folder is new, empty, a run's, or holds `leftovers` alone."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"'{self.folder}' is a file; name a folder with -o")
        names = list_folder(self.folder) if self.folder.is_dir() else []
        others = [name for name in names if name not in leftovers and not name.endswith(".partial")]
        if others and SETTINGS not in names:
            raise UserError(
                f"'{self.folder}' holds files that {self.command} did not make, as '{others[0]}'; "
                "name a new or empty folder with -o, nothing is overwritten"
            )
        made_by = read_run_settings(self.folder).command if SETTINGS in names else ""
        if made_by and made_by != self.command.split()[-1]:
            raise UserError(
                f"'{self.folder}' is a folder of dalda {made_by}; "
                "name a new or empty folder with -o, nothing is overwritten"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """One run at a time in the folder, which is made where there is none."""
        make_folder(self.folder)
        with lock(self.folder, f"another dalda run is at work in '{self.folder}'; wait for it, or end it"):
            yield

    def begin(self, run: RunSettings, defaults: Mapping[str, Any] | None = None) -> None:
        """Writes run.yaml, or resumes a run of the same settings, which may grow by trials.

        A setting that an older run lacks was its default. Raises UserError that names the difference.
        """
        if (self.folder / SETTINGS).exists():
            before = read_run_settings(self.folder)
            changed = difference(before.settings, run.settings, defaults)
            if changed:
                raise UserError(
                    f"the output folder '{self.folder}' was made with {changed}; "
                    "use those again, or another folder: -o"
                )
            trials = {trial.id: trial for trial in (*before.trials, *run.trials)}
            run = replace(before, trials=tuple(trials.values()))
        self.update(run)

    def update(self, run: RunSettings) -> None:
        """Writes run.yaml unless it says the same: how and in what time that was run stays."""
        path = self.folder / SETTINGS
        decided = _as_written(replace(run, recorded={}))
        if not exists(path) or decided != _as_written(replace(read_run_settings(self.folder), recorded={})):
            self.write(run)

    def write(self, run: RunSettings) -> None:
        """Writes run.yaml, in place of an earlier one."""
        run = replace(
            run, recorded={**run.recorded, "versions": {name: version(name) for name in VERSIONED}}
        )
        write(self.folder / SETTINGS, to_yaml(_as_written(run)))

    def end(self, results: Iterable[TrialResult], seconds: float) -> None:
        """Writes results.csv, and how long the command took that finished the run."""
        write_table(self.folder, results)
        run = read_run_settings(self.folder)
        if "seconds" not in run.recorded:
            self.write(replace(run, recorded={**run.recorded, "seconds": round(seconds, 1)}))

    def save(self, results: Sequence[TrialResult], settings: Mapping[str, Any]) -> None:
        """A whole run at once; synthetic sets lie beside its files, named by arm and seed."""
        trials = []
        for result in results:
            name = digest_of([result.dataset, result.arm, result.seed, result.shots])
            folder = f"{result.arm}-seed{result.seed}" if result.synthetic_images else None
            trials.append(PlannedTrial(name, result.arm, result.seed, result.shots, folder))
            self.keep(name, result)
        self.write(RunSettings(self.command.split()[-1], settings, trials=tuple(trials)))
        write_table(self.folder, results)

    def has(self, trial_id: str) -> bool:
        return self.file(trial_id).exists()

    def read(self, trial_id: str) -> TrialResult:
        return read_result(self.file(trial_id))

    def keep(self, trial_id: str, result: TrialResult) -> None:
        """One JSON object with all that was measured in a trial, complete or not there."""
        self.keep_part(trial_id, RESULTS, vars(result))

    def keep_part(self, trial_id: str, part: str, value: object) -> None:
        """A JSON file of a trial in a folder of its own; the result is written last."""
        make_folder(self.folder / part, root=self.folder)
        text = json.dumps(nan_as_null(value), ensure_ascii=False, allow_nan=False) + "\n"
        write(self.file(trial_id, part), text, root=self.folder)

    def read_part(self, trial_id: str, part: str) -> Any:
        """The value of such a file; None where there is none."""
        path = self.file(trial_id, part)
        return null_as_nan(read_json(path)) if path.exists() else None

    def file(self, trial_id: str, part: str = RESULTS) -> Path:
        return self.folder / part / f"{trial_id}.json"


def read_run_settings(folder: Path) -> RunSettings:
    """What run.yaml says. Raises UserError for a file that cannot be read or is no such file."""
    try:
        found: RunSettings = TypeAdapter(RunSettings).validate_python(read_yaml(folder / SETTINGS))
    except ValidationError:
        raise UserError(
            f"'{folder / SETTINGS}' cannot be read as the settings of a run; "
            "restore it or use a new folder with -o"
        ) from None
    return found


def _as_written(run: RunSettings) -> dict[str, Any]:
    """The settings as run.yaml holds them."""
    content: dict[str, Any] = plain({"format": run.format, **asdict(run)})
    return content


def planned_trials(folder: Path) -> tuple[PlannedTrial, ...]:
    """The trials of a run; none for a folder that is no run. Raises UserError for a damaged run.yaml."""
    return read_run_settings(folder).trials if exists(folder / SETTINGS) else ()


def read_results(folder: Path) -> list[TrialResult]:
    """The results of a run in the order of its trials; a study's arm of real images is called `real`.

    Results that the run does not name are left from an earlier one, and not read. Raises UserError for a
    damaged result.
    """
    trials = {trial.id: trial for trial in planned_trials(folder)}
    paths = sorted((folder / RESULTS).glob("*.json"))
    results = {path.stem: read_result(path) for path in paths if not trials or path.stem in trials}
    ordered = [results[name] for name in trials if name in results] or list(results.values())
    arms = list(dict.fromkeys(trial.arm for trial in trials.values()))
    ordered.sort(key=lambda trial: arms.index(trial.arm) if trial.arm in arms else len(arms))
    others = set(BASELINES) - {REAL}
    real = {trial.arm for trial in trials.values() if trial.synthetic is None} - others
    if len(real) != 1 or REAL in arms:
        return ordered
    return [replace(trial, arm=REAL) if trial.arm in real else trial for trial in ordered]


def read_result(path: Path) -> TrialResult:
    """A trial's result. Raises UserError for a damaged file."""
    found = read_json(path)
    if isinstance(found, dict):
        found |= {name: null_as_nan(found[name]) for name in ("loss", "class_accuracy") if name in found}
    try:
        result: TrialResult = TypeAdapter(TrialResult).validate_python(found)
    except ValidationError:
        raise UserError(f"'{path}' is no result of a trial; take it out and run again") from None
    fault = fault_of_result(result)
    if fault:
        raise UserError(f"'{path}' {fault}; take it out and run again")
    return result


def fault_of_result(result: TrialResult) -> str:
    """What numbers of a trial cannot be; empty where all can."""
    classes = len(result.classes)
    shares = [result.accuracy, *result.class_accuracy, *result.epoch_accuracy]
    if classes != len(result.class_accuracy):
        return "has not one accuracy per class"
    if not all(-ROUNDING <= share <= 1 + ROUNDING or math.isnan(share) for share in shares):
        return "has an accuracy that is no share"
    if result.confusion and [len(row) for row in result.confusion] != [classes] * classes:
        return "has not one count for each pair of classes"
    if result.images and len(result.images) != len(result.right):
        return "does not name each image that it counts"
    return ""


def write_table(folder: Path, results: Iterable[TrialResult]) -> None:
    """results.csv, tidy, of these results."""
    rows = ([row[name] for name in COLUMNS] for result in results for row in rows_of(result))
    write(folder / TABLE, csv_text([COLUMNS, *rows]))


def rows_of(result: TrialResult) -> list[dict[str, Any]]:
    """The tidy rows of one trial: after the last epoch, and the best epoch under that name alone."""
    summary = summarize([result])
    last = {
        "accuracy": result.accuracy,
        "macro_accuracy": summary.macro_accuracy.mean,
        "loss": result.loss,
        "calibration_error": result.calibration_error,
        **{f"accuracy {name}": interval.mean for name, interval in summary.class_accuracy.items()},
    }
    values = [("last", metric, value) for metric, value in last.items()]
    values.append(("best", "best_epoch_accuracy", summary.best_epoch_accuracy))
    common = {name: getattr(result, name) for name in ("dataset", "arm", "seed", "shots")}
    return [
        {**common, "epoch": epoch, "split": "val", "metric": metric, "value": value}
        for epoch, metric, value in values
    ]


def nan_as_null(value: object) -> object:
    """The value with None for each number that is not finite: JSON has none, but null."""
    if isinstance(value, dict):
        return {name: nan_as_null(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def null_as_nan(value: Any) -> Any:
    """The value with NaN for each None."""
    if isinstance(value, dict):
        return {name: null_as_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [null_as_nan(item) for item in value]
    return math.nan if value is None else value
