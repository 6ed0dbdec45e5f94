"""A generator of noise with faults; workers import this file, so it imports little."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tests.generation.executors.noise import Generator, plan_of, render

from dalda.errors import UserError
from dalda.generation.backends.base import ImageGenerator
from dalda.types import GenerationRequest

BATCH = 4
REQUESTS = plan_of().requests


@dataclass
class Faulty:
    """Renders, but for faults at requests by their number; a file in `folder` says that one happened."""

    folder: Path
    dies_once_at: int = -1
    dies_at: int = -1
    hangs_once_at: int = -1
    raises_at: int = -1
    raises_from: int = len(REQUESTS)
    refuses_at: int = -1
    repeats: tuple[int, int] = (-1, -1)
    """The second is always the image of the first."""

    def load(self) -> Generator:
        return Generator(self.rendered)

    def rendered(
        self, requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> Sequence[Image.Image]:
        # Second attempts have other seeds: the place of a request is known by its source and its index.
        numbers = [int(request.source.stem) * 2 + request.index for request in requests]
        for fault, at in (("die", self.dies_once_at), ("hang", self.hangs_once_at)):
            if at in numbers and not (self.folder / fault).exists():
                (self.folder / fault).write_text(os.environ.get("RAY_RAYLET_PID", ""))
                os._exit(9) if fault == "die" else time.sleep(10_000)
        if self.dies_at in numbers:
            os._exit(9)
        if self.refuses_at in numbers:
            raise UserError("the generator's server is gone")
        if self.raises_at in numbers or max(numbers) >= self.raises_from:
            raise ValueError("a strange prompt")
        images = render(requests, sources)
        if set(self.repeats) <= set(numbers):
            first, second = map(numbers.index, self.repeats)
            images[second] = images[first]
        return images


def check(generator: ImageGenerator) -> None:
    """Every generator is capable."""
