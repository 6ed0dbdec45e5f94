"""Generates a synthetic set, or what is missing of it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.config import AugmentConfig
from dalda.datasets.class_names import say_unclear
from dalda.datasets.registry import made_for
from dalda.device import device_named
from dalda.generation.image_encoding import FORMATS
from dalda.generation.plan import refuse_incapable
from dalda.generation.set_settings import keep_revisions
from dalda.generation.sharding import Shard, division_for
from dalda.generation.sink import ATTEMPTS, ATTEMPTS_ON_RETRY, DatasetSink
from dalda.generation.source_probabilities import write_probabilities
from dalda.generation.synthetic_dataset import TRAIN, SyntheticDataset
from dalda.methods.fitting.recipe import FitJob
from dalda.models.catalogue import revisions_of
from dalda.models.presets import Preset
from dalda.models.tokenizer import text_limit, token_counter
from dalda.progress import note, progress, say
from dalda.storage import Address, lock
from dalda.types import Capability, GenerationRequest, SyntheticImage
from dalda.workflows.augment_plan import AugmentPlan, GeneratorLoader, options_of, plan_augment
from dalda.workflows.augment_settings import SETTING_DEFAULTS, extent_of, generation_settings, provenance_of
from dalda.workflows.fitting import CONCEPTS, fit_concepts
from dalda.workflows.preview import Preview
from dalda.workflows.reports import AugmentReport

if TYPE_CHECKING:
    from dalda.generation.backends.base import ImageGenerator
    from dalda.generation.executors.base import Executor
    from dalda.generation.executors.worker import Worker


def augment(
    config: AugmentConfig,
    generator: "ImageGenerator | None" = None,
    executor: "Executor | None" = None,
    captions: Mapping[str, Sequence[str]] | None = None,
) -> AugmentReport:
    """Generates the synthetic set, or what is missing of it, in `config.out`.

    `generator` is any object with the protocol `ImageGenerator`, in place of `config.model`; `captions` are
    those of each class, in place of the file `config.captions`.
    """
    if generator is None:
        warn_of_model(config)
    planned = plan_augment(config, generator=generator, captions=captions)
    say_unclear(planned.split)
    return generate_plan(config, planned, open_dataset(config, planned), executor=executor)


def open_dataset(config: AugmentConfig, planned: AugmentPlan) -> SyntheticDataset:
    """The output folder. Raises UserError if it was begun with other settings."""
    settings = generation_settings(config, planned)
    shard = Shard.parse(config.shard) if config.shard else Shard()
    division = division_for(math.ceil(len(planned.plan.requests) / shard.count))
    part = shard.part if config.shard else ""
    return SyntheticDataset.open(config.out, settings, SETTING_DEFAULTS, part, division)


def generate_plan(
    config: AugmentConfig,
    planned: AugmentPlan,
    dataset: SyntheticDataset,
    loader: GeneratorLoader | None = None,
    executor: "Executor | None" = None,
) -> AugmentReport:
    """Generates what the dataset lacks; loads the model only if there is something to do."""
    requests, started = planned.plan.requests, time.monotonic()
    fitting = generating = 0.0
    if config.shard:
        requests = Shard.parse(config.shard).requests(requests)

    def still_missing() -> list[GenerationRequest]:
        found = dataset.missing(planned.plan.requests, retry_dropped=config.retry_dropped)
        mine = {request.id for request in requests}
        return [request for request in found if request.id in mine]

    missing = still_missing()
    # Also if nothing is missing: an earlier run may have been stopped just before it put all in order.
    if missing or not dataset.is_settled(requests):
        with dataset.held():
            # Once more, now that no other process adds any.
            missing = still_missing()
            if missing:
                _write_probabilities(config, planned, dataset)
                dataset.remember("extent", extent_of(config, planned, dataset))
                fitting, generating = _generate(
                    config, planned, requests, missing, dataset, loader or planned.loader, executor
                )
            dataset.settle(requests)
    if config.preview_every and not config.shard:
        Preview(dataset, config.preview_every).finish()
    retried, reasons = dataset.reasons()
    without = {str(line["request_id"]) for line in dataset.dropped()}
    dropped_now = sum(request.id in without for request in missing)
    return AugmentReport(
        out=config.out,
        planned=len(requests),
        generated=len(missing) - dropped_now,
        already_there=sum(request.id not in without for request in requests) - len(missing) + dropped_now,
        dropped=sum(reasons.values()),
        seconds=round(time.monotonic() - started, 2),
        dropped_for=dict(reasons),
        retried_for=dict(retried),
        skipped=planned.skipped,
        batch_size=dataset.execution().get("batch_size") if missing else None,
        fitting_seconds=round(fitting, 2),
        generating_seconds=round(generating, 2),
    )


def _generate(
    config: AugmentConfig,
    planned: AugmentPlan,
    requests: Sequence[GenerationRequest],
    missing: Sequence[GenerationRequest],
    dataset: SyntheticDataset,
    loader: GeneratorLoader,
    executor: "Executor | None",
) -> tuple[float, float]:
    """In batches of the user's size, else of the size that the folder was begun with.

    Returns the seconds of fitting and of generating.
    """
    from dalda.generation.backends.base import execution_of
    from dalda.generation.executors.base import Batches
    from dalda.generation.executors.local import LocalExecutor
    from dalda.generation.executors.worker import Worker

    jobs = jobs_of(planned, requests)
    check = generator_check(config, planned, dataset.folder / CONCEPTS if jobs else None)
    local = LocalExecutor(FORMATS[config.format], planned.method.finish)
    device: object = device_named(config.device)
    several = executor is None and (config.workers > 1 or config.executor == "ray")
    if several:
        # Every machine of a cluster sees a bucket, but not every one sees a disk.
        remote = config.executor == "ray" and isinstance(dataset.folder, Address)
        worker = Worker(loader, local, check, store=dataset.store if remote else None)
        executor = _workers(config, worker)
    if jobs or not several:
        generator = loader.load()
        check(generator)
        device = execution_of(generator).get("device")
    keep_revisions(dataset.folder, revisions_of(planned.preset))
    warn_of_cuts(planned.preset, missing)
    recorded = dataset.execution()
    earlier = recorded.get("batch_size") if recorded.get("device") == device else None
    size = config.batch_size or (earlier if isinstance(earlier, int) and earlier > 0 else None)
    wanted = {request.id for request in missing}
    attempts = ATTEMPTS_ON_RETRY if config.retry_dropped else ATTEMPTS
    fitting = fit_concepts(jobs, generator, dataset.folder) if jobs else 0.0
    started = time.monotonic()
    with (
        progress("generate", len(missing)) as bar,
        DatasetSink(
            dataset, wanted, bar, provenance_of(config, planned), attempts, _preview(config, dataset)
        ) as sink,
    ):
        (executor or local).run(loader, Batches(requests, wanted, size), sink)
    return fitting, time.monotonic() - started


def _preview(
    config: AugmentConfig, dataset: SyntheticDataset
) -> Callable[[Sequence[SyntheticImage]], None] | None:
    """What draws the running contact sheet; shards draw none, since they are one set together."""
    on = config.preview_every and not config.shard
    return Preview(dataset, config.preview_every).add if on else None


def _workers(config: AugmentConfig, worker: "Worker") -> "Executor":
    """Several processes of this machine, or actors of a Ray cluster."""
    if config.executor == "local":
        from dalda.generation.executors.processes import ProcessExecutor

        return ProcessExecutor(worker, config.workers)
    from dalda.generation.executors.ray import RayExecutor

    return RayExecutor(worker, config.workers, config.gpus_per_worker, config.ray_address)


def jobs_of(planned: AugmentPlan, requests: Sequence[GenerationRequest]) -> list[FitJob]:
    """The trainings that these requests need."""
    learned = "".join({request.concept or "" for request in requests})
    return [job for job in planned.jobs if job.key in learned]


def generator_check(
    config: AugmentConfig, planned: AugmentPlan, concepts: Path | None = None
) -> Callable[[Any], None]:
    """Refuses a loaded generator that is incapable, and makes it read learned concepts; picklable."""
    needs = planned.method.needs_with(options_of(config))
    return partial(_prepare, planned.method.name, needs, config.model, concepts)


def _prepare(
    method: str, needs: frozenset[Capability], model: str, concepts: Path | None, generator: Any
) -> None:
    """A loaded generator reads learned concepts from a folder. Raises UserError for an incapable one."""
    refuse_incapable(method, needs, model, generator.capabilities)
    if concepts is not None:
        generator.conditioner.concepts.folder = concepts


def _write_probabilities(config: AugmentConfig, planned: AugmentPlan, dataset: SyntheticDataset) -> None:
    if planned.probabilities is not None:
        pairs = zip(planned.split.images, planned.probabilities, strict=True)
        known = {(image.label, image.sha256): value for image, value in pairs}
        with lock(dataset.folder / TRAIN, f"other shards are beginning '{config.out}'", seconds=60):
            write_probabilities(
                dataset.folder, planned.clip, known, without_images=config.shard is not None
            )


def warn_of_cuts(preset: Preset, requests: Sequence[GenerationRequest]) -> None:
    """Says which prompts the text encoder will not read to their end."""
    count, limit = token_counter(preset), text_limit(preset).tokens
    prompts = dict.fromkeys(request.prompt for request in requests)
    cut = [prompt for prompt in prompts if count is not None and count(prompt) > limit]
    if cut:
        say(f"note: {len(cut)} prompts are longer than {limit} tokens and are cut, as '{cut[0]}'")


def warn_of_model(config: AugmentConfig) -> None:
    """Says that the model was made for other images than these."""
    known = made_for(config.model)
    if known and config.dataset not in known:
        note(
            f"the model '{config.model}' only knows {known[0]}; for photographs choose a real one, "
            "--model sd15"
        )
