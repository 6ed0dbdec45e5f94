"""What lies in the folders that people name: results of trials, and synthetic sets."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalda.errors import UserError
from dalda.evaluation.results import PlannedTrial, fault_of_result, planned_trials, read_results
from dalda.generation.set_settings import SETTINGS
from dalda.generation.synthetic_dataset import TRAIN, SyntheticDataset
from dalda.registry import Registry
from dalda.types import TrialResult


@dataclass(frozen=True)
class Run:
    """A folder with results of trials."""

    folder: Path
    results: tuple[TrialResult, ...]


@dataclass(frozen=True)
class ReportInputs:
    """All that is in the named folders."""

    runs: dict[str, Run]
    """By name: what is measured in one is never pooled with another's."""
    sets: dict[Path, str]
    """Synthetic sets, with the names of the arms that a study uses them for, else nothing."""

    @property
    def results(self) -> tuple[TrialResult, ...]:
        return tuple(result for run in self.runs.values() for result in run.results)


def report_inputs(places: Sequence[Path]) -> ReportInputs:
    """Raises UserError for a folder with neither results nor synthetic sets."""
    runs: dict[Path, Run] = {}
    sets: dict[Path, tuple[Path, str]] = {}
    for named in places:
        if not named.is_dir():
            raise UserError(f"there is no folder '{named}'; name one of dalda augment, train, run or demo")
        trials = planned_trials(named)
        own_sets = sets_in(named)
        results = read_results(named)
        if results:
            runs[named.resolve()] = Run(named, tuple(results))
        if not own_sets and not results:
            raise UserError(
                f"'{named}' holds neither results nor a synthetic set; "
                "name a folder of dalda augment, train, run or demo"
            )
        sets |= {folder.resolve(): (folder, arms_of(folder, trials)) for folder in own_sets}
    return ReportInputs(_named(list(runs.values())), dict(sets.values()))


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by their folders' names, by their whole paths where two names are alike."""
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder.resolve()) for run in runs]
    return dict(zip(names, runs, strict=True))


def sets_in(place: Path) -> list[Path]:
    """The folder itself when it is a synthetic set, else those with images in it or in `synthetic`."""
    if _is_set(place):
        return [place]
    inside = [*place.glob("*/"), *place.glob("synthetic/*/")]
    return sorted(x for x in inside if _is_set(x) and next(SyntheticDataset(x).lines(), None) is not None)


def _is_set(folder: Path) -> bool:
    return (folder / SETTINGS).is_file() and (folder / TRAIN).is_dir()


def arms_of(folder: Path, trials: Sequence[PlannedTrial]) -> str:
    """The arms that use a study's set, by name."""
    arms = (trial.arm for trial in trials if trial.synthetic and Path(trial.synthetic).name == folder.name)
    return ", ".join(dict.fromkeys(arms))


def result_of_table(
    dataset: str, arm: str, seed: str, shots: str, accuracy: float, classes: Mapping[str, float]
) -> TrialResult:
    """A trial of which only the accuracies of a table are known.

    Raises ValueError for what they cannot be.
    """
    result = TrialResult(
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
    if fault := fault_of_result(result):
        raise ValueError(fault)
    return result


RUN_READERS: Registry[Callable[[Path, str], list[TrialResult]]] = Registry()
"""Other formats of a run: folder and epoch (`last` or `best`) to its trials, none for another format."""
