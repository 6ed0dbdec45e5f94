"""The report's words about the runs: what was trained, how, with what, and how long it took."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from dalda.datasets.registry import DATASETS, PHOTOS
from dalda.errors import UserError
from dalda.evaluation.results import read_settings
from dalda.workflows.report.facts import duration
from dalda.workflows.results import Found, Run

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
    facts: dict[str, list[str]] = {}
    for name, run in runs.items():
        for fact, text in _training(run.folder).items():
            facts.setdefault(fact, []).append(f"{name}: {text}" if len(runs) > 1 else text)
    return {fact: "; ".join(texts) for fact, texts in facts.items()}


def _training(folder: Path) -> dict[str, str]:
    """How a run's classifiers were trained, as far as the run says; damaged settings say nothing."""
    try:
        run = read_settings(folder)
    except UserError:
        return {}
    if not run.arms:
        return {}
    arms = list(run.arms.values())
    one, dataset = arms[0], str(run.settings.get("dataset"))
    backbone = run.settings.get("backbone") or one.get("backbone")
    backbone = backbone or DATASETS.get(dataset, PHOTOS).backbone
    mixes = (", ".join(f"{key.replace('_', ' ')} {arm.get(key)}" for key in MIXED) for arm in arms)
    seconds, versions = run.recorded.get("seconds"), run.recorded.get("versions")
    facts = {
        "Classifier": f"{backbone}, finetune {one.get('finetune')}, {one.get('epochs')} epochs of "
        f"{one.get('iterations')} steps, batch size {one.get('batch_size')}",
        "Mixing": " or ".join(dict.fromkeys(mixes)),
    }
    if isinstance(versions, dict):
        facts["Versions"] = ", ".join(f"{name} {value}" for name, value in versions.items())
    if isinstance(seconds, int | float):
        facts["Time"] = f"{duration(seconds)}, on {run.recorded.get('device')}"
    return facts


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
