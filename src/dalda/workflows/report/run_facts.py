"""The report's words about the runs: what was trained, how, with what, and how long it took."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dalda.config.experiment import read_yaml_study, trials_of
from dalda.datasets.registry import DATASETS, PHOTOS
from dalda.errors import UserError
from dalda.workflows.report.facts import duration
from dalda.workflows.results import Found, Run

STUDY, TRAIN = "study.yaml", "train.yaml"
MIXED = ("mixing", "synthetic_probability", "batch_augment")
"""Options that the arms of a study may differ in."""


def run_facts(found: Found) -> dict[str, str]:
    """What was run, over all runs; how they were trained, each by its name where there are several."""
    results = found.results
    shots = sorted({one.shots for one in results if one.shots is not None})
    return {
        "Data set": _listed(one.dataset for one in results),
        "Classes": _listed(len(one.classes) for one in results),
        "Shots": _listed([*shots, *(["all"] if any(one.shots is None for one in results) else [])]),
        "Arms": _listed(one.arm for one in results),
        "Seeds": _listed(sorted({one.seed for one in results})),
        "Trials": str(len(results)),
        "Validation images": _listed(len(one.right) for one in results),
        **_by_run(found.runs),
        "Synthetic sets": str(len(found.sets)) if found.sets else "none in the named folders",
    }


def _by_run(runs: Mapping[str, Run]) -> dict[str, str]:
    told: dict[str, list[str]] = {}
    for name, run in runs.items():
        for fact, text in _training(run.folder).items():
            told.setdefault(fact, []).append(f"{name}: {text}" if len(runs) > 1 else text)
    return {fact: "; ".join(texts) for fact, texts in told.items()}


def _training(folder: Path) -> dict[str, str]:
    """How a run's classifiers were trained, as far as the run says; damaged settings say nothing."""
    kept = {**_read(folder / STUDY), **_read(folder / TRAIN)}
    trials = _trials(folder) or [kept]
    one = trials[0]
    if not one.get("epochs"):
        return {}
    backbone = one.get("backbone") or DATASETS.get(str(one.get("dataset")), PHOTOS).backbone
    mixes = (", ".join(f"{key.replace('_', ' ')} {trial.get(key)}" for key in MIXED) for trial in trials)
    seconds, versions = kept.get("seconds"), kept.get("versions")
    facts = {
        "Classifier": f"{backbone}, tuned: {one.get('finetune')}, {one.get('epochs')} epochs of "
        f"{one.get('iterations')} steps, batch size {one.get('batch_size')}",
        "Mixing": " or ".join(dict.fromkeys(mixes)),
    }
    if isinstance(versions, dict):
        facts["Versions"] = ", ".join(f"{name} {value}" for name, value in versions.items())
    if isinstance(seconds, int | float):
        facts["Time"] = f"{duration(seconds)}, on {one.get('device')}"
    return facts


def _trials(folder: Path) -> list[dict[str, Any]]:
    """The settings of a study's arms; none where the folder is no study's."""
    try:
        study = read_yaml_study(folder / STUDY)
        one_of_each_arm = study.model_copy(update={"seeds": study.seeds[:1], "shots": study.shots[:1]})
        return [spec.train.model_dump(mode="json") for spec in trials_of(one_of_each_arm)]
    except UserError:
        return []


def _read(path: Path) -> dict[str, Any]:
    """Settings that a run left; none where there are none, or they are damaged."""
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
