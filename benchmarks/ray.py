"""Ray against one process, as one JSON object: images/s of two workers, and of 64 that only wait.

`doodle`: two actors of one thread each against the local executor with one thread, on the same requests;
and two plain processes, which say what two cores of this machine can give.
`waiting`: a generator that waits 0.2 s for each image; 64 actors against 64 x 5 images/s. Both are
measured after the start-up, from the image at `AFTER` of all images to the last one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # this file is called as the library that it measures
    sys.path.pop(0)

import numpy as np
from PIL import Image

from dalda.datasets.image_io import sha256_of
from dalda.generation.backends.base import ImageGenerator
from dalda.generation.executors.base import Batch, Batches, Executor, LoadsGenerator
from dalda.generation.executors.local import LocalExecutor
from dalda.generation.executors.processes import ProcessExecutor
from dalda.generation.executors.ray import RayExecutor
from dalda.generation.executors.worker import Worker
from dalda.generation.image_encoding import FORMATS, EncodedImage
from dalda.types import Capability, GenerationRequest

AFTER = {"doodle": 0.25, "waiting": 0.5}
"""Share of the images that come while actors still start."""
WAIT = 0.2
"""Seconds of an image that is waited for."""


@dataclass
class Clock:
    """A sink that keeps nothing but the times at which images came."""

    times: list[float] = field(default_factory=list)

    def begin(self, batch_size: int, execution: Mapping[str, object]) -> None: ...

    def take(
        self, batch: Batch, images: Sequence[EncodedImage], execution: Mapping[str, object]
    ) -> Batch | None:
        assert all(image.invalid is None for image in images), images[0].invalid
        self.times += [time.perf_counter()] * len(images)
        return None

    def rate(self, after: float) -> float:
        """Images per second after the start-up."""
        later = self.times[int(len(self.times) * after) :]
        return sum(moment > later[0] for moment in later) / (later[-1] - later[0])


class Waiting:
    """A generator that only waits, and a `GeneratorSpec` of itself."""

    image_size = 16
    capabilities: frozenset[Capability] = frozenset()
    fingerprint: Mapping[str, object] = {"generator": "waiting"}

    def load(self) -> ImageGenerator:
        return self

    def generate(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        time.sleep(WAIT * len(requests))
        return [Image.effect_noise((16, 16), 90).convert("RGB") for _ in requests]


def accept(generator: object) -> None:
    """Every generator is capable."""


def rate_of(
    executor: Executor, spec: LoadsGenerator, requests: Sequence[GenerationRequest], size: int, part: str
) -> float:
    clock = Clock()
    executor.run(spec, Batches(requests, {request.id for request in requests}, size), clock)
    assert len(clock.times) == len(requests)
    return clock.rate(AFTER[part])


def measure_doodle(images: int, batch: int, folder: Path) -> dict[str, float]:
    """Images/s of the local executor with one thread, of two processes and of two actors with one each."""
    import torch

    from dalda.config import AugmentConfig
    from dalda.workflows.augment_plan import plan_augment

    torch.set_num_threads(1)
    config = AugmentConfig(
        dataset="doodles", out=folder, shots=1, ip_adapter_scale="uniform", device="cpu", per_image=images
    )
    planned = plan_augment(config)
    requests, local = planned.plan.requests[:images], LocalExecutor(FORMATS["png"])
    executors: dict[str, Executor] = {
        "local": local,
        "processes": ProcessExecutor(Worker(planned.loader, local, accept), 2),
        "ray": RayExecutor(Worker(planned.loader, local, accept), 2),
    }
    rates = {
        name: rate_of(executor, planned.loader, requests, batch, "doodle")
        for name, executor in executors.items()
    }
    return {
        **rates,
        "ratio of processes": rates["processes"] / rates["local"],
        "ratio": rates["ray"] / rates["local"],
    }


def measure_waiting(workers: int, seconds: float, folder: Path) -> dict[str, float]:
    """Images/s of many actors that wait; batches of a second each."""
    source = folder / "source.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(source)
    batch = round(1 / WAIT)
    requests = [
        GenerationRequest(
            source=source,
            source_sha256=sha256_of(source),
            label="a",
            index=number,
            seed=number,
            prompt="a",
            guidance_scale=1.0,
            steps=1,
            ip_adapter_scale=0.5,
        )
        for number in range(round(workers * seconds * batch))
    ]
    local = LocalExecutor(FORMATS["png"])
    executor = RayExecutor(Worker(Waiting(), local, accept), workers)
    rate = rate_of(executor, Waiting(), requests, batch, "waiting")
    ideal = workers / WAIT
    return {"workers": workers, "images": len(requests), "ray": rate, "ideal": ideal, "share": rate / ideal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument("--images", type=int, default=384, help="doodles")
    parser.add_argument("--batch", type=int, default=4, help="doodles in a batch")
    parser.add_argument("--workers", type=int, default=64, help="actors that wait")
    parser.add_argument("--seconds", type=float, default=120, help="of waiting")
    parser.add_argument("--part", choices=("doodle", "waiting", "all"), default="all")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.part != "waiting":
            measured["doodle"] = measure_doodle(options.images, options.batch, Path(folder))
        if options.part != "doodle":
            measured["waiting"] = measure_waiting(options.workers, options.seconds, Path(folder))
    rounded = {
        part: {name: round(value, 3) for name, value in row.items()} for part, row in measured.items()
    }
    print(json.dumps(rounded))


if __name__ == "__main__":
    main()
