"""A study on a Ray cluster: trainings of methods and trials are independent tasks.

The trials of one synthetic set are one task, which waits for the trainings that the set needs. All
machines see the results folder, into which every task writes what is its own.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dalda.config.cluster import ClusterConfig
from dalda.config.experiment import Study
from dalda.errors import UserError, first_line
from dalda.generation.executors.ray_cluster import RETRIES, Watch, connected, gpus_of_worker, next_of
from dalda.methods.base import method_named
from dalda.methods.fitting.recipe import FitJob
from dalda.progress import say
from dalda.storage import exists
from dalda.workflows.augment import generator_check, jobs_of, open_dataset
from dalda.workflows.augment_plan import LENGTHS, GeneratorLoader, plan_augment
from dalda.workflows.experiment import Stages, run_of
from dalda.workflows.fitting import CONCEPTS, fit_concepts
from dalda.workflows.runner import say_result
from dalda.workflows.trials import Task


@dataclass
class _Fitting:
    """One training, and the synthetic sets that need it."""

    job: FitJob
    loader: GeneratorLoader
    check: Callable[[Any], None]
    sets: list[Path] = field(default_factory=list)


def finish_on_ray(study: Study, tasks: Sequence[Task], cluster: ClusterConfig) -> int:
    """Finishes trials on the cluster. Returns how many images were generated.

    Raises the UserError of the first task that has one, and one if workers are lost again and again; what
    is finished is kept.
    """
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        task.write_captions()
        groups.setdefault(task.id if task.synthetic is None else str(task.synthetic.out), []).append(task)
    with connected(cluster.ray_address, os.cpu_count() or 1) as ray:
        gpus = gpus_of_worker(ray, cluster.gpus_per_worker)
        options = {"num_gpus": gpus, "num_cpus": 0 if gpus else 1, "max_retries": RETRIES}
        remote = ray.remote(**options)(_in_folder)
        try:
            return _finish_all(ray, remote, study, groups, Watch(ray, gpus))
        except ray.exceptions.RayTaskError as error:
            cause: Any = error
            while isinstance(cause, ray.exceptions.RayTaskError):  # also of a task that it waited for
                cause = cause.cause
            if isinstance(cause, ray.exceptions.RayError):
                raise _lost(cause) from error
            raise cause from error
        except ray.exceptions.RayError as error:
            raise _lost(error) from error


def _finish_all(ray: Any, remote: Any, study: Study, groups: dict[str, list[Task]], watch: Watch) -> int:
    place, run = os.getcwd(), run_of(study)
    learning = [name for name, group in groups.items() if _learns(group[0])]
    plans = [remote.remote(place, _fittings, groups[name][0]) for name in learning]
    found = [ray.get(next_of(ray, [plan], watch)) for plan in plans]
    fittings: dict[str, _Fitting] = {}
    for fitting in (fitting for several in found for fitting in several):
        fittings.setdefault(fitting.job.key, replace(fitting, sets=[])).sets.extend(fitting.sets)
    fits = {key: remote.remote(place, _fit, fitting) for key, fitting in fittings.items()}
    needed = {
        name: [fits[fitting.job.key] for fitting in several]
        for name, several in zip(learning, found, strict=True)
    }
    waiting = {
        remote.remote(place, _finish, study, group, *needed.get(name, [])): group
        for name, group in groups.items()
    }
    total = sum(map(len, groups.values()))
    say(f"{total} trials and {len(fits)} trainings of methods are tasks of the Ray cluster")
    done = generated = 0
    try:
        while waiting:
            first = next_of(ray, waiting, watch)
            generated += ray.get(first)
            for task in waiting.pop(first):
                done += 1
                say(f"trial {done} of {total}")
                say_result(run.read(task.id))
    finally:
        for one in (*waiting, *fits.values()):
            ray.cancel(one, force=True)
    return generated


def _lost(error: Exception) -> UserError:
    return UserError(
        f"a task of the Ray cluster was lost {RETRIES + 1} times ({first_line(error)}); what is finished "
        "is kept, run the same command again"
    )


def _learns(task: Task) -> bool:
    """Whether the method of the task's set may ask for a training."""
    if task.synthetic is None:
        return False
    return bool(LENGTHS & method_named(task.synthetic.method).Options.model_fields.keys())


def _in_folder(place: str, work: Callable[..., Any], *given: Any) -> Any:
    """In a worker: paths may be relative to the folder where the study was started."""
    try:
        os.chdir(place)
    except OSError:
        raise UserError(
            f"a machine of the Ray cluster has no folder '{place}'; start the study in a folder that all "
            "of them share"
        ) from None
    return work(*given)


def _fittings(task: Task) -> list[_Fitting]:
    """The trainings that a set lacks; its folder is begun."""
    config = task.synthetic
    assert config is not None
    planned = plan_augment(config)
    folder = open_dataset(config, planned).folder
    check = generator_check(config, planned)
    return [
        _Fitting(job, planned.loader, check, [folder])
        for job in jobs_of(planned, planned.plan.requests)
        if not exists(folder / CONCEPTS / f"{job.key}.safetensors")
    ]


def _fit(fitting: _Fitting) -> None:
    """Learns once, and puts the result into every set."""
    generator = fitting.loader.load()
    fitting.check(generator)
    for folder in fitting.sets:
        fit_concepts([fitting.job], generator, folder)


def _finish(study: Study, tasks: Sequence[Task], *fits: None) -> int:
    """The images that were generated. `fits` are tasks that end before this one begins."""
    stages = Stages(study, run_of(study), shared=True)
    for task in tasks:
        stages.finish(task)
    return stages.generated
