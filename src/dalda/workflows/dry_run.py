"""What augment or a study would do: how many images and trials, how long, how large; nothing is made."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dalda.config import AugmentConfig
from dalda.config.experiment import Study
from dalda.datasets.class_names import say_unclear
from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.generation.backends.checkpoint import GROUP
from dalda.generation.set_settings import SETTINGS
from dalda.generation.sharding import Shard
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.methods.fitting.recipe import Recipe
from dalda.methods.scale_policy import THRESHOLD
from dalda.models.catalogue import PUBLISHED, machine_teraflops, missing_parts
from dalda.plugins import plugins_of
from dalda.progress import say
from dalda.types import GenerationPlan, GenerationRequest
from dalda.workflows.augment import warn_of_model
from dalda.workflows.augment_plan import (
    AugmentPlan,
    GeneratorLoader,
    plan_augment,
    preset_of,
    refuse_early,
    shared_options,
)
from dalda.workflows.chosen_classes import source_count
from dalda.workflows.experiment import chosen_arms, missing_tasks, resolved, run_of
from dalda.workflows.fitting import is_fitted, seconds_per_step
from dalda.workflows.protocols import protocol_of
from dalda.workflows.real_images import split_of, usable
from dalda.workflows.reports import AugmentDryRun, StudyDryRun
from dalda.workflows.trials import Task, tasks_of

if TYPE_CHECKING:
    from dalda.workflows.runner import TrialRunner

TRIED_STEPS = 10
TRIED_IMAGES = 16
ANY_PROBABILITY = 0.5
"""CLIP class probability of all sources: it decides nothing that costs time."""


def dry_run(config: AugmentConfig) -> AugmentDryRun:
    """The plan's size and spread; nothing is written, and nothing is downloaded.

    Time is measured on one batch where the model is on disk, and else computed from its published numbers
    and this machine's; what CLIP decides is then unknown.
    """
    warn_of_model(config)
    missing = config.model not in plugins_of(GROUP) and missing_parts(preset_of(config))
    if missing:
        return _without_model(config, missing)
    planned = plan_augment(config)
    say_unclear(planned.split)
    if config.shard:
        planned = replace(
            planned, plan=GenerationPlan(Shard.parse(config.shard).requests(planned.plan.requests))
        )
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


def _without_model(config: AugmentConfig, missing: Sequence[str]) -> AugmentDryRun:
    """What is known before a model is downloaded."""
    split, skipped = usable(split_of(config), config.on_bad_image)
    preset, known = preset_of(config), PUBLISHED.get(config.model)
    refuse_early(config, split, preset.words)
    say_unclear(split)
    sources = source_count(config, split)
    shards = Shard.parse(config.shard).count if config.shard else 1
    count, seconds = math.ceil(sources * config.per_image / shards), None
    if known is not None:
        device, teraflops = machine_teraflops()
        seconds = round(count * known.seconds_per_image(preset, teraflops), 1)
        say(
            f"note: '{config.model}' is not on disk; the time is computed, from {known.teraflops:g} TFLOP "
            f"a pass and {teraflops:.2g} TFLOP/s of {device}"
        )
    else:
        say(f"note: the time is unknown, since the model '{missing[0]}' is not on disk")
    size = preset.size or 512
    return AugmentDryRun(
        planned=count,
        classes=len(split.classes),
        images=sources,
        ip_adapter_scale={},
        low_clip_probability=None,
        seconds=seconds,
        megabytes=round(count * 1.6 * size * size / 1e6, 2),
        skipped=skipped,
        download_gigabytes=None if known is None else round(known.download_gigabytes, 1),
    )


def _measured(config: AugmentConfig, planned: AugmentPlan) -> tuple[float | None, int]:
    """Seconds for the whole plan, from one batch of it, and the images' size in pixels."""
    from dalda.generation.executors.local import seconds_per_image

    requests = planned.plan.requests
    if not requests:
        return 0.0, planned.preset.size or 512
    try:
        generator = planned.loader.load()
        pace = seconds_per_image(generator, requests, config.batch_size)
    except UserError as error:
        say(f"note: the time is unknown, since {error}")
        return None, planned.preset.size or 512
    return round(pace * len(requests), 1), generator.image_size


def scale_summary(requests: Sequence[GenerationRequest]) -> dict[str, float]:
    """How a plan's IP-Adapter scales are distributed: minimum, quartiles and maximum."""
    percentiles = {"min": 0, "q25": 25, "median": 50, "q75": 75, "max": 100}
    scales = [request.ip_adapter_scale for request in requests]
    if not scales:
        return {}
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
    estimate = _Estimate()
    for name, count in left.items():
        config = sets[name].synthetic
        if count and config is not None:
            estimate.add(config, count)
    return StudyDryRun(
        out=run.folder,
        arms=tuple(arm.name for arm in study.arms if arm.name in arms),
        trials=len(tasks),
        missing_trials=len(missing),
        synthetic_sets=len(sets),
        images=sum(task.images for task in sets.values()),
        missing_images=sum(left.values()),
        fitting_seconds=None if estimate.fitting is None else round(estimate.fitting, 1),
        generating_seconds=None if estimate.generating is None else round(estimate.generating, 1),
        training_seconds=_training(study, missing),
        megabytes=round(estimate.megabytes, 2),
    )


def _left(study: Study, task: Task) -> int:
    """Images of a set that are still to be generated."""
    assert task.synthetic is not None
    existing = protocol_of(study).existing_images(task)
    folder = protocol_of(study).set_folder(task.synthetic.out, existing)
    done = len(SyntheticDataset.existing(folder).finished()) if (folder / SETTINGS).exists() else 0
    return max(0, task.images - len(existing) - done)


@dataclass
class _Estimate:
    """What is left of a study's sets: fitting and generating in seconds, None where that is unknown."""

    generating: float | None = 0.0
    fitting: float | None = 0.0
    megabytes: float = 0.0
    loaders: dict[str, GeneratorLoader] = field(default_factory=dict)
    """By preset: each model is loaded once."""
    paces: dict[str, tuple[float | None, float]] = field(default_factory=dict)
    """Seconds per step of an image, and megabytes per image, by preset."""
    steps: dict[Recipe, float] = field(default_factory=dict)
    """Seconds per step of a training."""
    jobs: set[str] = field(default_factory=set)

    def add(self, config: AugmentConfig, count: int) -> None:
        """Adds a set of which `count` images are missing."""
        # A file of base captions is not written yet, and no caption costs more than another.
        config = config.model_copy(update={"captions": None})
        key = repr(preset_of(config))
        if key not in self.paces:
            self.paces[key] = self._pace(config, key)
        pace, size = self.paces[key]
        self.megabytes += size * count
        try:
            # One image of each source shows what all of them cost.
            planned = plan_augment(config.model_copy(update={"per_image": 1}), ANY_PROBABILITY)
        except UserError as error:
            say(f"note: the time is unknown, since {error}")
            self.generating = self.fitting = None
            return
        each = np.mean([steps_of(request) for request in planned.plan.requests])
        if self.generating is not None:
            self.generating = None if pace is None else self.generating + pace * float(each) * count
        for job in planned.jobs if pace is not None else ():
            if job.key not in self.jobs and self.fitting is not None and not is_fitted(job):
                if job.recipe not in self.steps:
                    generator = self.loaders[key].load()
                    self.steps[job.recipe] = seconds_per_step(job, generator)
                self.fitting += self.steps[job.recipe] * job.recipe.steps
                self.jobs.add(job.key)

    def _pace(self, config: AugmentConfig, key: str) -> tuple[float | None, float]:
        others = {name: AugmentConfig.model_fields[name].default for name in shared_options()}
        tried = config.model_copy(update={**others, "method": "text", "method_option": {}})
        try:
            planned = plan_augment(tried)
            self.loaders[key] = planned.loader
            seconds, size = _measured(tried, planned)
        except UserError as error:
            say(f"note: the time is unknown, since {error}")
            seconds, size = None, preset_of(config).size or 512
        requests = planned.plan.requests if seconds is not None else ()
        pace = None if seconds is None else seconds / sum(map(steps_of, requests))
        return pace, 1.6 * size * size / 1e6


def steps_of(request: GenerationRequest) -> float:
    """Denoising steps that an image costs, those with two image prompts twice."""
    return request.steps * (request.strength or 1.0) * (1 if request.second_source is None else 2)


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
            run_trials([trial], few, store, quick.schedule, replace(runner.method, head=head))
        seconds = time.monotonic() - started
    if head != LINEAR:
        return seconds
    return seconds / TRIED_STEPS * runner.config.epochs * runner.config.iterations
