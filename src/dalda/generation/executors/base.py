"""Where requests are run: an executor loads the generator; its images go to the sink, which writes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from dalda.generation.backends.base import ImageGenerator
from dalda.generation.image_encoding import EncodedImage
from dalda.types import GenerationRequest

Batch = tuple[GenerationRequest, ...]


@dataclass(frozen=True)
class Batches:
    """Slices of a plan, those that hold a wanted request.

    A batch is always the same slice: one that was interrupted is generated whole again, and only its
    missing images are kept, so that they have the very bytes of an uninterrupted run. All requests of a
    batch have the same steps and guidance scale.
    """

    requests: Sequence[GenerationRequest]
    wanted: Collection[str]
    """Ids of the requests without an image; the sink removes those that are done."""
    size: int | None = None
    """Images per batch; None lets the executor choose."""

    def __iter__(self) -> Iterator[Batch]:
        if self.size is None:
            raise ValueError("the batch size is not chosen yet")
        for start in range(0, len(self.requests), self.size):
            part = self.requests[start : start + self.size]
            for _, group in groupby(part, lambda request: (request.steps, request.guidance_scale)):
                batch = tuple(group)
                if any(request.id in self.wanted for request in batch):
                    yield batch

    def of_size(self, size: int) -> "Batches":
        """The same requests in batches of another size."""
        return replace(self, size=size)


class Sink(Protocol):
    """Takes images batch by batch in the plan's order. It writes records, and images not stored yet."""

    def begin(self, batch_size: int, execution: Mapping[str, object]) -> None:
        """Called before the first batch, and again whenever the batch size changes."""

    def take(
        self, batch: Batch, images: Sequence[EncodedImage], execution: Mapping[str, object]
    ) -> Batch | None:
        """Keeps the valid images. Returns the batch to generate once more, None when all is settled."""


class LoadsGenerator(Protocol):
    """A `GeneratorSpec`, or a generator that is loaded already."""

    def load(self) -> ImageGenerator: ...


class Executor(Protocol):
    """Runs batches somewhere: on this machine, or on many."""

    def run(self, spec: LoadsGenerator, batches: Batches, sink: Sink) -> None:
        """Generates all batches. Raises UserError if memory does not suffice for a single image."""
