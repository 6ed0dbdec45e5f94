"""A generator whose images are noise, for tests of executors; it imports little: workers begin soon."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.generation.executors.local import LocalExecutor
from dalda.types import Capability, GenerationPlan, GenerationRequest

Render = Callable[[Sequence[GenerationRequest], Sequence[Image.Image]], Sequence[Image.Image | None]]

COUNT = 11


def plan_of() -> GenerationPlan:
    rng = np.random.default_rng(0)
    return GenerationPlan(
        tuple(
            GenerationRequest(
                source=Path(f"{number // 2}.png"),
                source_sha256=f"hash{number // 2}",
                label="car",
                index=number % 2,
                seed=int(rng.integers(2**40)),
                prompt="a car",
                guidance_scale=2.0,
                steps=20,
                ip_adapter_scale=float(rng.random()),
            )
            for number in range(2 * COUNT)
        )
    )


@dataclass
class Generator:
    """A generator around a function."""

    how: Render
    image_size: int = 4
    capabilities: frozenset[Capability] = frozenset()
    fingerprint: Mapping[str, object] = field(default_factory=dict)
    calls: int = 0
    counted: bool = False

    def load(self) -> "Generator":
        return self

    def generate(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        self.calls += 1
        return list(self.how(requests, images))

    @property
    def execution(self) -> Mapping[str, object]:
        return {"calls": self.calls} if self.counted else {}

    def choose_batch_size(self, request: GenerationRequest, image: Image.Image) -> int:
        return 4

    def expect_batches_of(self, size: int) -> None:
        pass


def render(requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> list[Image.Image]:
    """Noise that depends, like floating point on a batch, on a request's place in it too."""
    return [
        Image.fromarray(np.random.default_rng([request.seed, place]).integers(0, 255, (4, 4, 3), np.uint8))
        for place, request in enumerate(requests)
    ]


def open_image(path: Path, sha256: str) -> Image.Image:
    return Image.new("RGB", (4, 4))


EXECUTOR = LocalExecutor(open_image=open_image)
