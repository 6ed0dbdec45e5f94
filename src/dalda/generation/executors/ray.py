"""Generation on a Ray cluster: a Ray Data pipeline with a pool of actors, each with a generator of its own.

Ray has the queues and the schedule, and restarts an actor that dies, where there is room. The batch that it
had is generated again after all others, by any actor. Images come back to this process, whose sink writes.
"""

import os
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from dalda.errors import UserError, first_line
from dalda.generation.executors.base import Batch, Batches, LoadsGenerator, Sink
from dalda.generation.executors.ray_cluster import (
    CHECK,
    RETRIES,
    Watch,
    connected,
    gpus_of_worker,
    next_of,
)
from dalda.generation.executors.worker import DIED, PATIENCE, Outcome, Worker, failed

CLOSING = 3.0
"""Seconds that a pipeline may take to end before its last batch."""


class _Actor:
    """A worker in an actor, for `map_batches`: a block is one batch of requests."""

    def __init__(self, worker: Worker, size: int, patience: float) -> None:
        self.worker, self.size, self.patience = replace(worker), size, patience
        with _at_most(max(patience, PATIENCE)), suppress(Exception):  # generating says what it is
            self.worker.load()

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        outcomes = np.empty(len(block["item"]), dtype=object)
        with _at_most(self.patience):
            outcomes[:] = [self.worker.generate(item.batch, self.size) for item in block["item"]]
        return {"number": block["number"], "outcome": outcomes}


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Ends this actor, which Ray then replaces, if the block takes longer: it hangs."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _batch_size(worker: Worker, batch: Batch) -> int | str:
    """As many images as a worker takes together, or why it cannot be loaded."""
    try:
        return worker.batch_size(batch)
    except UserError as error:
        return str(error)


@dataclass(frozen=True)
class _Item:
    """A batch as one value of a column."""

    batch: Batch


@dataclass(frozen=True)
class RayExecutor:
    """Runs batches in `workers` actors of the cluster at `address`, or of one that is started here."""

    worker: Worker
    workers: int
    gpus: float | None = None
    """Of each actor; without it 1 if the cluster has any."""
    address: str | None = None
    patience: float = PATIENCE
    """Seconds that a batch may take; an actor that takes longer is ended and replaced."""
    replaced: float = Watch.replaced
    """Seconds that the cluster has to replace its last machine; then a run ends."""

    def run(self, spec: LoadsGenerator, batches: Batches, sink: Sink) -> None:
        """Generates all batches. Raises UserError if one does not fit into memory."""
        with connected(self.address, self.workers) as ray:
            try:
                self._run(ray, batches, sink)
            except ray.exceptions.RayError as error:
                raise UserError(
                    f"the Ray cluster cannot go on ({first_line(error)}); what is finished is kept, run "
                    "the same command again"
                ) from error

    def _run(self, ray: Any, batches: Batches, sink: Sink) -> None:
        gpus = gpus_of_worker(ray, self.gpus)
        size: int | str | None = batches.size
        if size is None:
            task = ray.remote(num_gpus=gpus)(_batch_size).remote(self.worker, tuple(batches.requests[:1]))
            size = ray.get(next_of(ray, [task], Watch(ray, gpus, self.replaced)))
        if isinstance(size, str):
            raise UserError(size)
        pending, begun = list(batches.of_size(size)), False
        lost: Counter[str] = Counter()
        while pending:
            again = []
            for batch, outcome in self._outcomes(ray, pending, size, gpus):
                if outcome is None:
                    lost[batch[0].id] += 1
                    if lost[batch[0].id] <= RETRIES:
                        again.append(batch)
                        continue
                    outcome = failed(batch, DIED, self.worker.local)
                if outcome.error is not None:
                    raise UserError(outcome.error)
                if not begun:
                    sink.begin(size, outcome.execution)
                    begun = True
                more = sink.take(batch, outcome.images, outcome.execution)
                if more is not None:
                    again.append(more)
            pending = again

    def _outcomes(
        self, ray: Any, batches: Sequence[Batch], size: int, gpus: float
    ) -> Iterator[tuple[Batch, Outcome | None]]:
        """In the order of the batches, then those that were lost with their actors, without an outcome.

        A block holds one, so that it is always the same slice.
        """
        workers = min(self.workers, len(batches))
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a batch whose actor dies is tried again, or dropped, not the run
        items = ray.data.from_items(
            [{"number": number, "item": _Item(batch)} for number, batch in enumerate(batches)],
            override_num_blocks=len(batches),
        )
        done = items.map_batches(
            _Actor,
            fn_constructor_args=(self.worker, size, self.patience),
            batch_size=1,
            # One batch at a time, so that an actor that dies takes no other batch with it.
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_gpus=gpus or None,
            num_cpus=None if gpus else 1,
            ray_remote_args_fn=partial(dict, max_task_retries=0),  # Ray's wait for the actor, lost or not
        )
        finished = set()
        for row in self._rows(ray, done, gpus):
            finished.add(int(row["number"]))
            yield batches[int(row["number"])], row["outcome"]
        for number in sorted(set(range(len(batches))) - finished):
            yield batches[number], None

    def _rows(self, ray: Any, pipeline: Any, gpus: float) -> Iterator[dict[str, Any]]:
        """Of the pipeline. Raises UserError where Ray would wait for ever."""
        rows: queue.Queue[Any] = queue.Queue(1)
        closed = threading.Event()

        def read() -> None:
            try:
                for row in pipeline.iter_rows():
                    rows.put(row)
                    if closed.is_set():
                        return
                rows.put(None)
            except BaseException as error:
                rows.put(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        watch = Watch(ray, gpus, self.replaced)
        try:
            while True:
                try:
                    row = rows.get(timeout=CHECK)
                except queue.Empty:
                    watch.look()
                    continue
                if row is None:
                    return
                if isinstance(row, BaseException):
                    raise row
                yield row
                watch.result()
        finally:
            closed.set()
            with suppress(queue.Empty):
                rows.get_nowait()
            reader.join(CLOSING)  # so that its actors end before the connection does
