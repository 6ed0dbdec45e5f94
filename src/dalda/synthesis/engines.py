"""Doing the plan's jobs: batches to the renderer, pictures to the store, only what is missing."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from dalda.errors import UserError
from dalda.progress import Progress, say
from dalda.records import Job, Plan
from dalda.synthesis.batching import free_memory, is_out_of_memory
from dalda.synthesis.pictures import FORMATS, REPEATED, Encoded, Format, encode
from dalda.synthesis.plan import with_next_seed
from dalda.synthesis.store import Dropped, Finished, Store

Render = Callable[[Sequence[Job], Sequence[Image.Image]], Sequence[Image.Image | None]]
"""Jobs and their sources -> a picture each, None for one whose values are not numbers."""
OpenImage = Callable[[Path], Image.Image]
Batch = tuple[Job, ...]
AHEAD = 2
"""Batches whose sources are opened, whose pictures are encoded, and which wait to be written, at a time."""
HOPELESS = 16
"""Jobs without a picture, and none with one, after which a model is taken to be broken."""
READERS = 2
ENCODERS = 4


def missing_jobs(plan: Plan, store: Store) -> list[Job]:
    """The plan's jobs that the store has neither finished nor dropped, in order."""
    done = store.finished()
    return [job for job in plan.jobs if job.id not in done]


def paint(
    plan: Plan,
    missing: Sequence[Job],
    store: Store,
    render: Render,
    open_image: OpenImage,
    batch_size: int,
    progress: Progress,
    *,
    form: Format = FORMATS["png"],
    rendering: Mapping[str, Any] | None = None,
) -> int:
    """Renders what is missing; sources are read, and pictures encoded and written, beside the rendering.

    A batch is always the same slice of the plan. One that was broken off is rendered whole again
    and only its missing pictures are kept, so that they have the very bytes of an unbroken run.
    Where memory runs out, batches are halved from there on. Returns the size of the last ones, which the
    folder's settings keep, together with what else `rendering` says.
    Raises UserError when a single picture is too much, when the folder cannot be written, and when the
    first jobs have no picture that could be kept.
    """
    work = _Work({job.id for job in missing}, store, render, open_image, progress, form)
    with store.held():
        work.seen = store.hashes()
        store.remember(batch_size=batch_size, **(rendering or {}))
        first = batch_size
        while not _painted_at(batch_size, plan, work):
            if batch_size == 1:
                raise UserError(
                    "there is not enough memory for a single picture; free some, or choose a smaller "
                    "model or another --device: what is finished is kept"
                )
            if batch_size == first:
                say(f"note: {batch_size} pictures at a time do not fit into memory; going on with fewer")
            batch_size //= 2
            free_memory()
            store.remember(batch_size=batch_size)
        if work.unkept:
            store.add([], work.unkept)
    return batch_size


def _painted_at(batch_size: int, plan: Plan, work: "_Work") -> bool:
    """Paints in batches of one size; False when memory runs out before the end."""
    slices = (plan.jobs[start : start + batch_size] for start in range(0, len(plan.jobs), batch_size))
    batches = [batch for batch in slices if any(job.id in work.wanted for job in batch)]
    try:
        _paint(batches, work)
    except Exception as error:
        if is_out_of_memory(error):
            return False
        raise
    return True


@dataclass
class _Work:
    """What is to be done, and what has been seen of it so far."""

    wanted: set[str]
    store: Store
    render: Render
    open_image: OpenImage
    progress: Progress
    form: Format
    seen: set[str] = field(default_factory=set)
    """Hashes of all pictures that are kept."""
    unkept: list[Dropped] = field(default_factory=list)
    """Dropped jobs that are not written yet: not before there is a picture, so that nothing is left of a
    model that paints none."""

    def read(self, batch: Batch) -> list[Image.Image]:
        """The batch's sources; one that serves several jobs is opened once."""
        opened = {path: self.open_image(path) for path in dict.fromkeys(job.source for job in batch)}
        return [opened[job.source] for job in batch]

    def judge(self, picture: Encoded) -> str | None:
        """What is wrong with a picture, if anything; one that is well counts as seen from now on."""
        fault = picture.fault or (REPEATED if picture.sha256 in self.seen else None)
        if fault is None:
            self.seen.add(picture.sha256)
        return fault

    def decide(self, batch: Batch, pictures: Sequence[Encoded]) -> tuple[list[Finished], list[Dropped]]:
        """What is kept of a batch: sick pictures are rendered once more, then dropped.

        The others of the batch are rendered along, so that every picture has its place in it.
        """
        finished: list[Finished] = []
        sick: dict[str, str] = {}
        for job, picture in zip(batch, pictures, strict=True):
            if job.id not in self.wanted:
                continue
            fault = self.judge(picture)
            if fault is None:
                finished.append(Finished(job, picture, job.seed))
            else:
                sick[job.id] = fault
        if not sick:
            return finished, []
        dropped: list[Dropped] = []
        others = [with_next_seed(job) if job.id in sick else job for job in batch]
        for job, other, again in zip(batch, others, self.render(others, self.read(batch)), strict=True):
            if job.id not in sick:
                continue
            picture = encode(again, self.form)
            fault = self.judge(picture)
            if fault is None:
                finished.append(Finished(job, picture, other.seed, rendered_again=sick[job.id]))
            else:
                dropped.append(Dropped(job, fault, other.seed))
        return finished, dropped


def _paint(batches: Sequence[Batch], work: _Work) -> None:
    """Batch after batch; whatever is decided, is decided in the plan's order."""
    looked_at: deque[tuple[Batch, list[Future[Encoded]]]] = deque()
    unwritten: deque[Future[None]] = deque()

    def close() -> None:
        batch, pictures = looked_at.popleft()
        finished, dropped = work.decide(batch, [picture.result() for picture in pictures])
        work.unkept += dropped
        if work.seen:
            unwritten.append(writer.submit(work.store.add, finished, tuple(work.unkept)))
            work.unkept.clear()
        elif len(work.unkept) >= HOPELESS:
            raise UserError(
                f"none of the first {len(work.unkept)} pictures can be kept, the last being "
                f"{work.unkept[-1].reason}: the model does not work with these settings; try --dtype fp32, "
                "more --steps or another --vae"
            )
        settled = {one.job.id for one in finished} | {one.job.id for one in dropped}
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
                pictures = work.render(batch, sources)
                looked_at.append((batch, [encoder.submit(encode, one, work.form) for one in pictures]))
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
