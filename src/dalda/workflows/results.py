"""What lies in the folders that people name: results of trials, and synthetic sets."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.generation.synthetic_dataset import METADATA, SETTINGS, TRAIN
from dalda.registry import Registry
from dalda.types import TrialResult

OUTCOMES = "results"
RESULTS = "results.csv"
PLAN = "plan.json"
REAL = "real"
"""The arm without synthetic images, however a study calls it."""


@dataclass(frozen=True)
class Run:
    """A folder with results of trials."""

    folder: Path
    results: tuple[TrialResult, ...]


@dataclass(frozen=True)
class Found:
    """All that is in the named folders."""

    runs: dict[str, Run]
    """By name: what is measured in one is never pooled with another's."""
    sets: dict[Path, str]
    """Synthetic sets, with the names of the arms that a study uses them for, else nothing."""

    @property
    def results(self) -> tuple[TrialResult, ...]:
        return tuple(one for run in self.runs.values() for one in run.results)


def found_in(places: Sequence[Path]) -> Found:
    """Raises UserError for a folder with neither results nor synthetic sets."""
    runs: dict[Path, Run] = {}
    sets: dict[Path, tuple[Path, str]] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"there is no folder '{place}'; name one of dalda augment, train, run or demo")
        plan = read_plan(place)
        own = sets_in(place)
        results = read_results(place)
        if results:
            runs[place.resolve()] = Run(place, tuple(results))
        if not own and not results:
            raise UserError(
                f"'{place}' holds neither results nor a synthetic set; "
                "name a folder of dalda augment, train, run or demo"
            )
        sets |= {folder.resolve(): (folder, arms_of(folder, plan)) for folder in own}
    return Found(_named(list(runs.values())), dict(sets.values()))


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
    return sorted(folder for folder in inside if _is_set(folder) and _has_images(folder))


def _is_set(folder: Path) -> bool:
    return (folder / SETTINGS).is_file() and (folder / TRAIN).is_dir()


def _has_images(folder: Path) -> bool:
    metadata = folder / TRAIN / METADATA
    return metadata.is_file() and metadata.stat().st_size > 0


def read_plan(run: Path) -> list[dict[str, Any]]:
    """The trials that a study's folder is for; none for any other folder."""
    try:
        entries = json.loads((run / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    whole = isinstance(entries, list) and all(isinstance(one, dict) and one.get("id") for one in entries)
    return entries if whole else []


def arms_of(folder: Path, plan: Sequence[dict[str, Any]]) -> str:
    """The arms that use a study's set, by name."""
    named = (str(one.get("arm")) for one in plan if Path(str(one.get("synthetic"))).name == folder.name)
    return ", ".join(dict.fromkeys(named))


def read_results(run: Path) -> list[TrialResult]:
    """The results of a run, in the order of its plan or table; a study's arm of real images is `real`.

    What the plan of a study does not name is left from an earlier one, and not read. Raises UserError for
    a damaged result.
    """
    plan = read_plan(run)
    planned = {str(one["id"]) for one in plan}
    paths = sorted(path for path in (run / OUTCOMES).glob("*.json") if not plan or path.stem in planned)
    results = [read_result(path) for path in paths]
    order = {str(one.get("arm")): place for place, one in reversed(list(enumerate(plan)))}
    order = order or _arms_in_order(run / RESULTS)
    results.sort(key=lambda one: (order.get(one.arm, len(order)), one.arm, one.seed))
    real = {str(one.get("arm")) for one in plan if one.get("synthetic") is None}
    if len(real) != 1 or REAL in order:
        return results
    return [replace(one, arm=REAL) if one.arm in real else one for one in results]


def read_result(path: Path) -> TrialResult:
    from pydantic import TypeAdapter, ValidationError

    try:
        one: TrialResult = TypeAdapter(TrialResult).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise UserError(f"'{path}' is no result of a trial; take it out and run again") from None
    if len(one.classes) != len(one.class_accuracy):
        raise UserError(f"'{path}' has not one accuracy per class; take it out and run again")
    return one


def _arms_in_order(table: Path) -> dict[str, int]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            arms = dict.fromkeys(row["arm"] for row in csv.DictReader(file) if row.get("arm"))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        return {}
    return {arm: place for place, arm in enumerate(arms)}


def result_of_table(
    dataset: str, arm: str, seed: str, shots: str, accuracy: float, classes: Mapping[str, float]
) -> TrialResult:
    """A trial of which only the accuracies of a table are known."""
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


RUN_READERS: Registry[Callable[[Path, str], list[TrialResult]]] = Registry()
"""Other formats of a run: folder and epoch (`last` or `best`) to its trials, none for another format."""
