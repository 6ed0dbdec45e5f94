"""Trainings that a method asks for: done once, kept in the user's cache, copied into the output folder."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dalda.cache import cache_folder
from dalda.datasets.image_io import open_source
from dalda.device import is_out_of_memory
from dalda.errors import UserError
from dalda.methods.fitting.recipe import FitJob
from dalda.progress import progress
from dalda.storage import exists, lock, make_folder, read_bytes, read_json, write
from dalda.types import RealImage

CONCEPTS = "concepts"
"""The folder of artefacts, in the cache and in a synthetic set."""


def fit_concepts(jobs: Sequence[FitJob], generator: Any, out: Path) -> float:
    """Makes the generator read the jobs' artefacts from `out`; what is missing is trained or copied.

    Returns the seconds that the trainings took, whenever they were done. Raises UserError if memory does
    not suffice.
    """
    if not jobs:
        return 0.0
    cache, folder = cache_folder(CONCEPTS), out / CONCEPTS
    make_folder(cache)
    make_folder(folder, root=out)
    missing = [job for job in jobs if not exists(folder / f"{job.key}.safetensors")]
    steps = sum(job.recipe.steps for job in missing if not exists(cache / f"{job.key}.safetensors"))
    with progress("fit", steps) as bar:
        for job in missing:
            # Of one job alone: others may be learned at the same time.
            make_folder(cache / job.key)
            with lock(cache / job.key, f"another process is fitting the same in '{cache}'; wait for it"):
                if not exists(cache / f"{job.key}.safetensors"):
                    _fit(job, generator, cache, bar)
            for suffix in (".json", ".safetensors"):
                name = f"{job.key}{suffix}"
                write(folder / name, read_bytes(cache / name, limit=None), root=out)
    generator.conditioner.concepts.folder = folder
    return sum(_seconds(folder / f"{job.key}.json") for job in jobs)


def _seconds(path: Path) -> float:
    """How long a training took. Raises UserError for a file that does not say so."""
    try:
        return float(read_json(path)["seconds"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"'{path}' does not say how long a training took; restore it") from None


def is_fitted(job: FitJob) -> bool:
    """Whether the job's artefact is in the cache."""
    return exists(cache_folder(CONCEPTS) / f"{job.key}.safetensors")


def seconds_per_step(job: FitJob, generator: Any) -> float:
    """Of the job's training, by its second step; nothing is written."""
    from dalda.generation.backends.trainable import trainable_model
    from dalda.methods.fitting.trainer import Training

    training = Training.begin(job, trainable_model(generator))
    for _ in range(2):
        started = time.monotonic()
        training.advance(_open)
    return time.monotonic() - started


def _open(image: RealImage) -> Any:
    return open_source(image.path, image.sha256)


def _fit(job: FitJob, generator: Any, cache: Path, bar: Any) -> None:
    from dalda.generation.backends.trainable import trainable_model
    from dalda.methods.fitting.trainer import fit

    started = time.monotonic()
    try:
        model = trainable_model(generator)
        state = cache / f"{job.key}.state.safetensors"
        data = fit(job, model, _open, state, lambda loss: bar.advance())
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            "there is not enough memory for training; free some, choose a smaller --model or another "
            "--device, and run the same command again"
        ) from error
    seconds = {"seconds": round(time.monotonic() - started, 1), "steps": job.recipe.steps}
    write(cache / f"{job.key}.json", json.dumps(seconds) + "\n")
    write(cache / f"{job.key}.safetensors", data)
