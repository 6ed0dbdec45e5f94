"""Doing the plan's requests: batches to the renderer, images to the store, only what is missing."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from dalda.device import free_memory, is_out_of_memory
from dalda.errors import UserError
from dalda.generation.image_encoding import FORMATS, REPEATED, Encoded, Format, encode
from dalda.generation.plan import with_next_seed
from dalda.generation.synthetic_dataset import Dropped, Finished, SyntheticDataset
from dalda.progress import Progress, say
from dalda.types import GenerationPlan, GenerationRequest

Render = Callable[[Sequence[GenerationRequest], Sequence[Image.Image]], Sequence[Image.Image | None]]
"""Requests and their sources -> a image each, None for one whose values are not numbers."""
OpenImage = Callable[[Path], Image.Image]
Batch = tuple[GenerationRequest, ...]
AHEAD = 2
"""Batches whose sources are opened, whose images are encoded, and which wait to be written, at a time."""
HOPELESS = 16
"""Requests without a image, and none with one, after which a model is taken to be broken."""
READERS = 2
ENCODERS = 4


def missing_requests(plan: GenerationPlan, store: SyntheticDataset) -> list[GenerationRequest]:
    """The plan's requests that the store has neither finished nor dropped, in order.

    Raises UserError where the store holds images of no request of the plan: it was made by another one.
    """
    done = store.finished()
    missing = [request for request in plan.requests if request.id not in done]
    strange = len(done) + len(missing) - len(plan.requests)
    if strange:
        raise UserError(
            f"the output folder '{store.folder}' holds {strange} images that this command does not make: "
            "its settings or scores are not those that it was begun with; choose another with -o"
        )
    return missing


def generate(
    plan: GenerationPlan,
    missing: Sequence[GenerationRequest],
    store: SyntheticDataset,
    render: Render,
    open_image: OpenImage,
    batch_size: int,
    progress: Progress,
    *,
    form: Format = FORMATS["png"],
    made_with: Callable[[], Mapping[str, Any]] = dict,
    rendering: Mapping[str, Any] | None = None,
) -> int:
    """Renders what is missing; sources are read, and images encoded and written, beside the rendering.

    The store must be held, and what is missing be known since then.

    A batch is always the same slice of the plan. One that was broken off is rendered whole again
    and only its missing images are kept, so that they have the very bytes of an unbroken run.
    Where memory runs out, batches are halved from there on. Returns the size of the last ones, which the
    folder's settings keep, together with what else `rendering` says; what `made_with` says right after a
    batch was rendered goes into the records of its images, together with the batch size.
    Raises UserError when a single image is too much, and when the first requests have no image that could
    be kept; OSError when the folder cannot be written.
    """
    work = _Work({request.id for request in missing}, store, render, open_image, progress, form, made_with)
    work.seen = store.hashes()
    store.remember(batch_size=batch_size, **(rendering or {}))
    first = batch_size
    while not _generated_at(batch_size, plan, work):
        if batch_size == 1:
            raise UserError(
                "there is not enough memory for a single image; free some, or choose a smaller "
                "model or another --device: what is finished is kept"
            )
        if batch_size == first:
            say(f"note: {batch_size} images at a time do not fit into memory; going on with fewer")
        batch_size //= 2
        free_memory()
        store.remember(batch_size=batch_size)
    if work.unkept:
        store.add([], work.unkept)
    return batch_size


def _generated_at(batch_size: int, plan: GenerationPlan, work: "_Work") -> bool:
    """Generates in batches of one size; False when memory runs out before the end."""
    slices = (
        plan.requests[start : start + batch_size] for start in range(0, len(plan.requests), batch_size)
    )
    batches = [batch for batch in slices if any(request.id in work.wanted for request in batch)]
    work.batch_size = batch_size
    try:
        _generate(batches, work)
    except Exception as error:
        if is_out_of_memory(error):
            return False
        raise
    return True


@dataclass
class _Work:
    """What is to be done, and what has been seen of it so far."""

    wanted: set[str]
    store: SyntheticDataset
    render: Render
    open_image: OpenImage
    progress: Progress
    form: Format
    made_with: Callable[[], Mapping[str, Any]]
    batch_size: int = 0
    seen: set[str] = field(default_factory=set)
    """Hashes of all images that are kept."""
    unkept: list[Dropped] = field(default_factory=list)
    """Dropped requests that are not written yet: not before there is a image, so that nothing is left of a
    model that generates none."""

    def read(self, batch: Batch) -> list[Image.Image]:
        """The batch's sources; one that serves several requests is opened once."""
        opened = {
            path: self.open_image(path) for path in dict.fromkeys(request.source for request in batch)
        }
        return [opened[request.source] for request in batch]

    def rendered(self, batch: Batch, sources: Sequence[Image.Image]) -> "_Rendered":
        images = self.render(batch, sources)
        return _Rendered(images, {**self.made_with(), "batch_size": self.batch_size})

    def judge(self, image: Encoded, new: set[str]) -> str | None:
        """What is wrong with a image, if anything; one that is well counts among the `new` ones."""
        repeated = image.sha256 in self.seen or image.sha256 in new
        fault = image.fault or (REPEATED if repeated else None)
        if fault is None:
            new.add(image.sha256)
        return fault

    def decide(
        self, batch: Batch, images: Sequence[Encoded], how: Mapping[str, Any]
    ) -> tuple[list[Finished], list[Dropped]]:
        """What is kept of a batch: sick images are rendered once more, then dropped.

        The others of the batch are rendered along, so that every image has its place in it. Where memory
        runs out on that, nothing of the batch has been seen: it is rendered again in smaller ones.
        """
        finished: list[Finished] = []
        sick: dict[str, str] = {}
        new: set[str] = set()
        for request, image in zip(batch, images, strict=True):
            if request.id not in self.wanted:
                continue
            fault = self.judge(image, new)
            if fault is None:
                finished.append(Finished(request, image, request.seed, how))
            else:
                sick[request.id] = fault
        dropped = self.second_try(batch, sick, new, finished) if sick else []
        self.seen |= new
        return finished, dropped

    def second_try(
        self, batch: Batch, sick: Mapping[str, str], new: set[str], finished: list[Finished]
    ) -> list[Dropped]:
        """Adds to `finished` what is well with the next seed; returns the others."""
        dropped: list[Dropped] = []
        others = tuple(with_next_seed(request) if request.id in sick else request for request in batch)
        made = self.rendered(others, self.read(batch))
        for request, other, again in zip(batch, others, made.images, strict=True):
            if request.id not in sick:
                continue
            image = encode(again, self.form)
            fault = self.judge(image, new)
            if fault is None:
                finished.append(
                    Finished(request, image, other.seed, made.how, rendered_again=sick[request.id])
                )
            else:
                dropped.append(Dropped(request, fault, other.seed, made.how))
        return dropped


@dataclass(frozen=True)
class _Rendered:
    """A batch's images, and how they were made."""

    images: Sequence[Image.Image | None]
    how: Mapping[str, Any]


def _generate(batches: Sequence[Batch], work: _Work) -> None:
    """Batch after batch; whatever is decided, is decided in the plan's order."""
    looked_at: deque[tuple[Batch, list[Future[Encoded]], Mapping[str, Any]]] = deque()
    unwritten: deque[Future[None]] = deque()

    def close() -> None:
        batch, images, how = looked_at.popleft()
        finished, dropped = work.decide(batch, [image.result() for image in images], how)
        work.unkept += dropped
        if work.seen:
            unwritten.append(writer.submit(work.store.add, finished, tuple(work.unkept)))
            work.unkept.clear()
        elif len(work.unkept) >= HOPELESS:
            raise UserError(
                f"none of the first {len(work.unkept)} images can be kept, the last being "
                f"{work.unkept[-1].reason}: the model does not work with these settings; try --dtype fp32, "
                "more --steps or another --vae"
            )
        settled = {one.request.id for one in finished} | {one.request.id for one in dropped}
        work.wanted -= settled
        work.progress.advance(len(settled))
        if len(unwritten) > AHEAD:
            unwritten.popleft().result()

    with (
        ThreadPoolExecutor(READERS) as reader,
        ThreadPoolExecutor(ENCODERS) as encoder,
        ThreadPoolExecutor(1) as writer,
    ):
        try:
            for batch, sources in _read_ahead(batches, work.read, reader):
                made = work.rendered(batch, sources)
                encoded = [encoder.submit(encode, one, work.form) for one in made.images]
                looked_at.append((batch, encoded, made.how))
                if len(looked_at) > AHEAD:
                    close()
            while looked_at:
                close()
        finally:
            while unwritten:
                unwritten.popleft().result()


def _read_ahead(
    batches: Sequence[Batch], read: Callable[[Batch], list[Image.Image]], reader: ThreadPoolExecutor
) -> Iterator[tuple[Batch, list[Image.Image]]]:
    waiting = deque(reader.submit(read, batch) for batch in batches[:AHEAD])
    for number, batch in enumerate(batches):
        sources = waiting.popleft().result()
        if number + AHEAD < len(batches):
            waiting.append(reader.submit(read, batches[number + AHEAD]))
        yield batch, sources
