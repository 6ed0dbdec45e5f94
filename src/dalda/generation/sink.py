"""What becomes of images: valid ones are written, invalid ones generated once more and then dropped."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from dalda.errors import UserError
from dalda.generation.image_encoding import REPEATED, EncodedImage
from dalda.generation.plan import with_next_seed
from dalda.generation.records import Dropped, Finished
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import Progress
from dalda.types import GenerationRequest, SyntheticImage

MAX_CONSECUTIVE_FAILURES = 16
"""Dropped images in a row, of more than one batch, after which a model is taken to be broken."""
MAX_WAITING_WRITES = 2
ATTEMPTS = 2
ATTEMPTS_ON_RETRY = 4
"""Seeds that are tried for an image before it is dropped, and those if dropped ones are tried again."""


@dataclass(frozen=True)
class _Retry:
    request: GenerationRequest
    """As planned."""
    reason: str
    attempt: int


@dataclass
class DatasetSink:
    """Writes to a synthetic dataset, which must be held; use it as a context manager.

    Drops are written only where an image is kept, too: a broken model leaves none.
    """

    dataset: SyntheticDataset
    wanted: set[str]
    """Ids of the requests to settle; settled ones are removed."""
    progress: Progress
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What each record says of the generator, beside its request."""
    attempts: int = ATTEMPTS
    on_written: Callable[[Sequence[SyntheticImage]], None] | None = None
    """Called with the images that are on disk and in the metadata, in the thread that writes."""
    batch_size: int = field(default=0, init=False)
    _failed_batches: int = field(default=0, init=False)
    """In a row, without a single valid image."""
    _some_valid: bool = field(default=False, init=False)
    """Whether the current batch had a valid image."""
    _hashes: set[str] = field(init=False)
    _retries: dict[str, _Retry] = field(default_factory=dict, init=False)
    _failures: list[Dropped] = field(default_factory=list, init=False)
    _writes: deque[Future[None]] = field(default_factory=deque, init=False)
    _writer: ThreadPoolExecutor = field(init=False)

    def __enter__(self) -> "DatasetSink":
        self._hashes = self.dataset.hashes()
        self._writer = ThreadPoolExecutor(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writer:
            while self._writes:
                self._writes.popleft().result()
            if error is None and self._failures:
                if not self._hashes:
                    raise self._broken()
                self.dataset.add([], self._failures)

    def begin(self, batch_size: int, execution: Mapping[str, object]) -> None:
        """Records how images are generated from here on."""
        self.batch_size = batch_size
        self.dataset.remember("execution", {"batch_size": batch_size, **execution})

    def take(
        self,
        batch: Sequence[GenerationRequest],
        images: Sequence[EncodedImage],
        execution: Mapping[str, object],
    ) -> tuple[GenerationRequest, ...] | None:
        """Keeps the valid images of a batch.

        Returns the whole batch with other seeds for the invalid ones, so that every image has its place in
        it, or None if no image is to be generated again. Raises UserError for a model that is broken.
        """
        how = {**self.provenance, **execution, "batch_size": self.batch_size}
        finished: list[Finished] = []
        again = list(batch)
        if self._retries.keys().isdisjoint(request.id for request in batch):
            self._some_valid = False
        failures = len(self._failures)
        for position, (request, image) in enumerate(zip(batch, images, strict=True)):
            earlier = self._retries.pop(request.id, None)
            planned = earlier.request if earlier else request
            if planned.id not in self.wanted:
                continue
            reason = image.invalid or (REPEATED if image.sha256 in self._hashes else None)
            attempt = earlier.attempt + 1 if earlier else 1
            if reason is not None and image.stored:
                self.dataset.take_back(planned, image)
            if reason is None:
                self._hashes.add(image.sha256)
                finished.append(
                    Finished(planned, image, request.seed, how, earlier.reason if earlier else None)
                )
            elif attempt < self.attempts:
                again[position] = with_next_seed(request)
                first = earlier.reason if earlier else reason
                self._retries[again[position].id] = _Retry(planned, first, attempt)
            else:
                self._failures.append(Dropped(planned, reason, request.seed, how))
        self._settle(finished, self._failures[failures:])
        return tuple(again) if again != list(batch) else None

    def _settle(self, finished: Sequence[Finished], dropped: Sequence[Dropped]) -> None:
        settled = {image.request.id for image in finished} | {record.request.id for record in dropped}
        self.wanted -= settled
        self.progress.advance(len(settled))
        self._some_valid = self._some_valid or bool(finished)
        if self._some_valid:
            self._writes.append(self._writer.submit(self._write, finished, tuple(self._failures)))
            self._failures.clear()
            self._failed_batches = 0
        elif dropped:
            self._failed_batches += 1
            if self._failed_batches > 1 and len(self._failures) >= MAX_CONSECUTIVE_FAILURES:
                raise self._broken()
        while len(self._writes) > MAX_WAITING_WRITES:
            self._writes.popleft().result()

    def _write(self, finished: Sequence[Finished], dropped: Sequence[Dropped]) -> None:
        images = self.dataset.add(finished, dropped)
        if self.on_written is not None:
            self.on_written(images)

    def _broken(self) -> UserError:
        return UserError(
            f"the last {len(self._failures)} images in a row are invalid, the last one is "
            f"{self._failures[-1].reason}: the model does not work with these settings; try --dtype "
            "fp32, more --steps or another --vae, and run the same command again"
        )
