"""What augment or a study would do: how many images and trials, how long, how large; nothing is made."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.config import AugmentConfig
from dalda.config.experiment import Study
from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.generation.set_settings import SETTINGS
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.scale_policy import THRESHOLD
from dalda.progress import say
from dalda.types import GenerationRequest
from dalda.workflows.augment import warn_of_model
from dalda.workflows.augment_plan import AugmentPlan, plan_augment, preset_of
from dalda.workflows.experiment import chosen_arms, missing_tasks, resolved, run_of
from dalda.workflows.protocols import protocol_of
from dalda.workflows.reports import AugmentDryRun, StudyDryRun
from dalda.workflows.trials import Task, tasks_of

if TYPE_CHECKING:
    from dalda.workflows.runner import TrialRunner

TRIED_STEPS = 10
TRIED_IMAGES = 16


def dry_run(config: AugmentConfig) -> AugmentDryRun:
    """The plan's size and spread; time is measured on one batch, nothing is written."""
    warn_of_model(config)
    planned = plan_augment(config)
    requests = planned.plan.requests
    probabilities = [request.source_clip_probability for request in requests]
    seconds, size = _measured(config, planned)
    return AugmentDryRun(
        planned=len(requests),
        classes=len(planned.split.classes),
        images=len(planned.split.images),
        ip_adapter_scale=scale_summary(requests),
        low_clip_probability=sum(value is not None and value <= THRESHOLD for value in probabilities),
        seconds=seconds,
        megabytes=round(len(requests) * 1.6 * size * size / 1e6, 2),
        skipped=planned.skipped,
    )


def _measured(config: AugmentConfig, planned: AugmentPlan) -> tuple[float | None, int]:
    """Seconds for the whole plan, from one batch of it, and the images' size in pixels."""
    from dalda.generation.executors.local import seconds_per_image

    requests = planned.plan.requests
    try:
        generator = planned.loader.load()
        pace = seconds_per_image(generator, requests, config.batch_size)
    except UserError as error:
        say(f"note: the time is unknown, since {error}")
        return None, planned.preset.size or 512
    return round(pace * len(requests), 1), generator.image_size


def scale_summary(requests: Sequence[GenerationRequest]) -> dict[str, float]:
    """How a plan's IP-Adapter scales are distributed: minimum, quartiles and maximum."""
    import numpy as np

    percentiles = {"min": 0, "q25": 25, "median": 50, "q75": 75, "max": 100}
    scales = [request.ip_adapter_scale for request in requests]
    return {name: round(float(np.percentile(scales, at)), 4) for name, at in percentiles.items()}


def dry_run_experiment(
    source: Study | Path | str,
    *,
    out: Path | None = None,
    root: Path | None = None,
    original: bool = False,
    only: Sequence[str] = (),
) -> StudyDryRun:
    """The size of a run; time is measured on a batch of each model and on a few training steps."""
    study = resolved(source, out=out, root=root, original=original)
    run = run_of(study)
    arms = chosen_arms(study, only)
    run.refuse_foreign(protocol_of(study).leftovers(run.folder))
    tasks = [task for task in tasks_of(study) if task.spec.arm in arms]
    missing = missing_tasks(study, run, tasks)
    sets = {task.set_id: task for task in tasks if task.synthetic is not None}
    needed = {task.set_id for task in missing}
    left = {name: _left(study, task) for name, task in sets.items() if name in needed}
    seconds, megabytes = _generating(
        study, {name: sets[name] for name, count in left.items() if count}, left
    )
    return StudyDryRun(
        out=run.folder,
        arms=tuple(arm.name for arm in study.arms if arm.name in arms),
        trials=len(tasks),
        missing_trials=len(missing),
        synthetic_sets=len(sets),
        images=sum(task.images for task in sets.values()),
        missing_images=sum(left.values()),
        generating_seconds=seconds,
        training_seconds=_training(study, missing),
        megabytes=round(megabytes, 2),
    )


def _left(study: Study, task: Task) -> int:
    """Images of a set that are still to be generated."""
    assert task.synthetic is not None
    existing = protocol_of(study).existing_images(task)
    folder = protocol_of(study).set_folder(task.synthetic.out, existing)
    done = len(SyntheticDataset.existing(folder).finished()) if (folder / SETTINGS).exists() else 0
    return max(0, task.images - len(existing) - done)


def _generating(
    study: Study, sets: dict[str | None, Task], left: dict[str | None, int]
) -> tuple[float | None, float]:
    """Seconds and megabytes for what is left of the sets, by a batch of each model."""
    seconds: float | None = 0.0
    megabytes = 0.0
    paces: dict[str, tuple[float | None, float]] = {}
    for name, task in sets.items():
        config = task.synthetic
        assert config is not None
        key = repr(preset_of(config))
        if key not in paces:
            paces[key] = _pace(config)
        pace, size = paces[key]
        seconds = None if seconds is None or pace is None else seconds + pace * left[name]
        megabytes += size * left[name]
    return None if seconds is None else round(seconds, 1), megabytes


def _pace(config: AugmentConfig) -> tuple[float | None, float]:
    """Seconds and megabytes per image."""
    tried = config.model_copy(update={"ip_adapter_scale": "0.5", "captions": None})
    try:
        trial = dry_run(tried)
    except UserError as error:
        say(f"note: the time is unknown, since {error}")
        size = preset_of(config).size or 512
        return None, 1.6 * size * size / 1e6
    pace = None if trial.seconds is None else trial.seconds / trial.planned
    return pace, trial.megabytes / trial.planned


def _training(study: Study, missing: Sequence[Task]) -> float | None:
    """Seconds for the trials, from the backbone's pace and that of a few steps."""
    if not missing:
        return 0.0
    task = min(missing, key=lambda task: len(task.split.images))
    config = task.spec.train
    from dalda.evaluation.features import MARGIN
    from dalda.workflows.runner import TrialRunner

    runner = TrialRunner(config)
    try:
        side = MARGIN * runner.store.backbone.size
        tried = [open_image(image.path, shorter=side) for image in task.split.images[:TRIED_IMAGES]]
        started = time.monotonic()
        runner.store.backbone.extract(tried)
        each = (time.monotonic() - started) / len(tried)
        trial = _trial_seconds(study, task, runner)
    except UserError as error:
        say(f"note: the time of training is unknown, since {error}")
        return None
    synthetic = sum({task.set_id: task.images for task in missing}.values())
    real = {image.sha256 for task in missing for image in task.split.images}
    validation = {image.sha256 for task in missing for image in task.validation.images}
    images = len(validation) + (0 if study.original else runner.store.views * (synthetic + len(real)))
    return round(each * images + trial * len(missing), 1)


def _trial_seconds(study: Study, task: Task, runner: "TrialRunner") -> float:
    """The training of one trial, by a few of its steps, on its real images."""
    from dalda.evaluation.heads.table import LINEAR
    from dalda.evaluation.training import run_trials
    from dalda.evaluation.trial import Trial
    from dalda.workflows.runner import method_of

    head = LINEAR if study.original else runner.head
    trial, store = Trial("a try", task.spec.train.seed, task.split), runner.store
    quick = replace(
        runner, config=runner.config.model_copy(update={"epochs": 1, "iterations": TRIED_STEPS})
    )
    quick.store = store
    one_of_each = {image.label: image for image in task.validation.images}
    few = replace(task.validation, images=tuple(one_of_each.values()))
    seconds = 0.0
    for _ in range(2):  # the first time also computes the features
        started = time.monotonic()
        if protocol_of(study).train(trial, few, quick) is None:
            run_trials([trial], few, store, quick.schedule, replace(method_of(runner.config), head=head))
        seconds = time.monotonic() - started
    if head != LINEAR:
        return seconds
    return seconds / TRIED_STEPS * runner.config.epochs * runner.config.iterations
