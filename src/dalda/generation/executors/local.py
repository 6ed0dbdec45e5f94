"""Generation in this process; sources are read and images encoded and written at the same time."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from dalda.datasets.image_io import open_source
from dalda.device import free_memory, is_out_of_memory
from dalda.errors import UserError
from dalda.generation.backends.base import (
    ImageGenerator,
    TunableGenerator,
    execution_of,
    generate_from,
)
from dalda.generation.executors.base import Batch, Batches, LoadsGenerator, Sink
from dalda.generation.image_encoding import FORMATS, EncodedImage, Format, encode
from dalda.progress import say
from dalda.types import GenerationRequest

PREFETCH_BATCHES = 2
"""Batches whose sources are read ahead, and as many whose images are still being encoded."""
READERS = 2
ENCODERS = 4
Finish = Callable[[Image.Image, GenerationRequest, Sequence[Image.Image]], Image.Image]
"""A method's last step, from the generated image to the one to keep."""


def unchanged(
    image: Image.Image, request: GenerationRequest, sources: Sequence[Image.Image]
) -> Image.Image:
    """The last step of most methods."""
    return image


@dataclass(frozen=True)
class LocalExecutor:
    """Runs batches one after the other; if memory runs out, in batches of half the size from there on."""

    format: Format = FORMATS["png"]
    finish: Finish = unchanged
    open_image: Callable[[Path, str], Image.Image] = open_source
    """Decodes a source image whose bytes must have this hash."""

    def run(self, spec: LoadsGenerator, batches: Batches, sink: Sink) -> None:
        """Generates all batches. Raises UserError if memory does not suffice for a single image."""
        generator = spec.load()
        chosen = batches.size or self.batch_size(generator, batches.requests[0])
        size = chosen
        while not self._run(generator, batches.of_size(size), sink):
            if size == 1:
                raise UserError(
                    "there is not enough memory for a single image; free some, or choose a smaller "
                    "model or another --device: what is finished is kept"
                )
            if size == chosen:
                say(f"note: {size} images at a time do not fit into memory; continuing with fewer")
            size //= 2
            free_memory()

    def batch_size(self, generator: ImageGenerator, request: GenerationRequest) -> int:
        """As many images as the generator takes together."""
        if isinstance(generator, TunableGenerator):
            return generator.choose_batch_size(
                request, self.open_image(request.source, request.source_sha256)
            )
        return 1

    def encode(
        self, image: Image.Image | None, request: GenerationRequest, sources: Sequence[Image.Image]
    ) -> EncodedImage:
        """A generated image after the method's last step, as a file's bytes."""
        return encode(None if image is None else self.finish(image, request, sources), self.format)

    def _run(self, generator: ImageGenerator, batches: Batches, sink: Sink) -> bool:
        """Generates in batches of one size; False if memory runs out before the end."""
        size = batches.size or 1
        if isinstance(generator, TunableGenerator):
            generator.expect_batches_of(size)
        sink.begin(size, execution_of(generator))
        try:
            with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(ENCODERS) as encoders:
                _Pipeline(self, generator, sink, readers, encoders).run(batches)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True


@dataclass(frozen=True)
class _Pipeline:
    executor: LocalExecutor
    generator: ImageGenerator
    sink: Sink
    readers: ThreadPoolExecutor
    encoders: ThreadPoolExecutor

    def run(self, batches: Batches) -> None:
        """Batch after batch; the sink gets them in the plan's order."""
        encoding = deque[tuple[Batch, list[Future[EncodedImage]], Mapping[str, object]]]()
        for batch, sources in self._read_ahead(iter(batches)):
            encoding.append(self._generate(batch, sources))
            if len(encoding) > PREFETCH_BATCHES:
                self._hand_over(*encoding.popleft())
        while encoding:
            self._hand_over(*encoding.popleft())

    def _generate(
        self, batch: Batch, sources: Sequence[Sequence[Image.Image]]
    ) -> tuple[Batch, list[Future[EncodedImage]], Mapping[str, object]]:
        images = generate_from(self.generator, batch, sources)
        rows = zip(images, batch, sources, strict=True)
        encoding = [self.encoders.submit(self.executor.encode, *row) for row in rows]
        return batch, encoding, execution_of(self.generator)

    def _hand_over(
        self, batch: Batch, images: Sequence[Future[EncodedImage]], execution: Mapping[str, object]
    ) -> None:
        """Gives a batch to the sink, and generates it again as long as that asks for it."""
        again = self.sink.take(batch, [image.result() for image in images], execution)
        if again is not None:
            self._hand_over(*self._generate(again, self._read(again)))

    def _read_ahead(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[list[Image.Image]]]]:
        waiting = deque(
            (batch, self.readers.submit(self._read, batch)) for batch in islice(batches, PREFETCH_BATCHES)
        )
        while waiting:
            batch, sources = waiting.popleft()
            opened = sources.result()
            waiting.extend((more, self.readers.submit(self._read, more)) for more in islice(batches, 1))
            yield batch, opened

    def _read(self, batch: Batch) -> list[list[Image.Image]]:
        return read_sources(batch, self.executor.open_image)


def read_sources(
    batch: Sequence[GenerationRequest], open_image: Callable[[Path, str], Image.Image]
) -> list[list[Image.Image]]:
    """The images of each request's `source_files`; one that serves several requests is opened once."""
    files = [request.source_files for request in batch]
    opened = {file: open_image(*file) for row in files for file in row}
    return [[opened[file] for file in row] for row in files]


def seconds_per_image(
    generator: ImageGenerator, requests: Sequence[GenerationRequest], batch_size: int | None = None
) -> float:
    """Measured on one batch, or on half of one that does not fit into memory.

    Raises UserError if a single image does not fit.
    """
    executor = LocalExecutor()
    size = min(batch_size or executor.batch_size(generator, requests[0]), len(requests))
    while size:
        batch = tuple(requests[:size])
        sources = read_sources(batch, executor.open_image)
        started = time.monotonic()
        try:
            generate_from(generator, batch, sources)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            return (time.monotonic() - started) / size
        free_memory()
        size //= 2
    raise UserError("there is not enough memory for a single image")
