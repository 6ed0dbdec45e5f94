"""Doing the plan's jobs: batches to the renderer, pictures to the store, only what is missing."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.progress import Progress
from dalda.records import Job, Plan
from dalda.synthesis.store import Store

Render = Callable[[Sequence[Job], Sequence[Image.Image]], list[Image.Image]]
OpenImage = Callable[[Path], Image.Image]
Batch = tuple[Job, ...]
AHEAD = 2
"""Batches whose sources are opened, and whose pictures wait to be written, at a time."""
BLANK = 2
"""A picture whose values all lie within this range is of one colour."""


def automatic_batch_size(size: int, device: str) -> int:
    """Images rendered together: small pictures in large batches, large ones singly on a CPU."""
    if size <= 64:
        return 32
    return 8 if device.startswith("cuda") else 1


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
) -> None:
    """Renders what is missing; sources are read and pictures written beside the rendering.

    A batch is always the same slice of the plan. One that was broken off is rendered whole again
    and only its missing pictures are kept, so that they have the very bytes of an unbroken run.
    """
    wanted = {job.id for job in missing}
    slices = [plan.jobs[start : start + batch_size] for start in range(0, len(plan.jobs), batch_size)]
    batches = [batch for batch in slices if any(job.id in wanted for job in batch)]

    def keep(batch: Batch, pictures: Sequence[Image.Image]) -> None:
        for job, picture in zip(batch, pictures, strict=True):
            if job.id not in wanted:
                continue
            if is_blank(picture):
                store.drop(job, "blank picture")
            else:
                store.add(job, picture)
            progress.advance()

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        unwritten: list[Future[None]] = []
        for batch, sources in _read_ahead(batches, open_image, reader):
            unwritten.append(writer.submit(keep, batch, render(batch, sources)))
            if len(unwritten) > AHEAD:
                unwritten.pop(0).result()
        for future in unwritten:
            future.result()


def is_blank(picture: Image.Image) -> bool:
    """Whether a picture is of one colour, as broken models paint (black, or from NaN)."""
    values = np.asarray(picture)
    spread = values.max(axis=(0, 1)).astype(int) - values.min(axis=(0, 1))
    return bool(spread.max() <= BLANK)


def _read_ahead(
    batches: Sequence[Batch], open_image: OpenImage, reader: ThreadPoolExecutor
) -> Iterator[tuple[Batch, list[Image.Image]]]:
    def read(batch: Batch) -> list[Image.Image]:
        opened = {path: open_image(path) for path in dict.fromkeys(job.source for job in batch)}
        return [opened[job.source] for job in batch]

    waiting = [reader.submit(read, batch) for batch in batches[:AHEAD]]
    for number, batch in enumerate(batches):
        sources = waiting.pop(0).result()
        if number + AHEAD < len(batches):
            waiting.append(reader.submit(read, batches[number + AHEAD]))
        yield batch, sources
