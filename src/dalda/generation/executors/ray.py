"""Generation on a Ray cluster: a Ray Data pipeline with a pool of actors, each with a generator of its own.

Ray has the queues and the schedule, and restarts an actor that dies, where there is room. The batch that it
had is generated again after all others, by any actor. Actors put images into a bucket themselves; to a
disk, which they may not share, the sink of this process writes. Records are written here alone.
"""

import os
import threading
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dalda.errors import UserError, first_line
from dalda.generation.executors.base import Batch, Batches, LoadsGenerator, Sink
from dalda.generation.executors.ray_cluster import (
    RETRIES,
    Watch,
    connected,
    gpus_of_worker,
    next_of,
)
from dalda.generation.executors.worker import DIED, PATIENCE, Outcome, Worker, failed


class _Actor:
    """A worker in an actor, for `map_batches`: a block is one batch of requests."""

    def __init__(self, worker: Worker, size: int, patience: float) -> None:
        self.worker, self.size, self.patience = replace(worker), size, patience
        with _at_most(max(patience, PATIENCE)), suppress(Exception):  # generating says what it is
            self.worker.load()

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        outcomes = np.empty(len(block["item"]), dtype=object)
        with _at_most(self.patience):
            outcomes[:] = [self.worker.generate(one.batch, self.size, one.wanted) for one in block["item"]]
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


def _batch_size(worker: Worker, batch: Batch, asked: int | None) -> int | str:
    """The size that was asked for, else as many images as a worker takes, or why it cannot be loaded."""
    try:
        return asked or worker.batch_size(batch)
    except UserError as error:
        return str(error)


@dataclass(frozen=True)
class _Item:
    """A batch as one value of a column, and the ids of those whose images are wanted."""

    batch: Batch
    wanted: frozenset[str]


@dataclass
class _Actors:
    """The actors of one pipeline, by name."""

    names: list[str] = field(default_factory=list)

    def next(self) -> dict[str, Any]:
        """Ray's arguments for one more. Its tasks are not tried again by Ray, which waits for an actor
        that is lost for good."""
        self.names.append(f"dalda-{uuid.uuid4().hex}")
        return {"name": self.names[-1], "max_task_retries": 0}

    @contextmanager
    def ended(self, ray: Any) -> Iterator[None]:
        """Ends them with the block: one that died at last is started again, and would keep its place."""
        try:
            yield
        finally:
            for name in self.names:
                with suppress(ValueError, ray.exceptions.RayError):
                    ray.kill(ray.get_actor(name))


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
    silence: float = PATIENCE + 300.0
    """Seconds without a batch after which a run ends: the cluster's machines are lost."""

    def run(self, spec: LoadsGenerator, batches: Batches, sink: Sink) -> None:
        """Generates all batches. Raises UserError if one does not fit into memory, or none comes."""
        with connected(self.address, self.workers) as ray:
            try:
                self._run(ray, batches, sink)
            except (ray.exceptions.RayError, ray.data.exceptions.ExecutionTimeoutError) as error:
                raise UserError(
                    f"the Ray cluster cannot go on ({first_line(error)}); what is finished is kept, run "
                    "the same command again"
                ) from error

    def _run(self, ray: Any, batches: Batches, sink: Sink) -> None:
        gpus = gpus_of_worker(ray, self.gpus)
        remote, one = ray.remote(num_gpus=gpus), tuple(batches.requests[:1])
        # A task asks for what a worker needs: it waits for room, and a cluster that grows sees the wish.
        first = remote(_batch_size).remote(self.worker, one, batches.size)
        size: int | str = ray.get(next_of(ray, [first], Watch(ray, gpus)))
        if isinstance(size, str):
            raise UserError(size)
        pending, begun = list(batches.of_size(size)), False
        lost: Counter[str] = Counter()
        while pending:
            again = []
            # No actor waits for its next batch. Once one has died, each has one alone: a batch that ends
            # its actor takes no other with it.
            ahead = 1 if lost else 2
            for batch, outcome in self._outcomes(ray, pending, batches.wanted, size, gpus, ahead):
                if outcome is None:
                    lost[batch[0].id] += 1
                    if lost[batch[0].id] <= RETRIES:
                        again.append(batch)
                        continue
                    outcome = failed(batch, DIED)
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
        self,
        ray: Any,
        batches: Sequence[Batch],
        wanted: Collection[str],
        size: int,
        gpus: float,
        ahead: int,
    ) -> Iterator[tuple[Batch, Outcome | None]]:
        """In the order of the batches, then those that were lost with their actors, without an outcome.

        A block holds one, so that it is always the same slice. Each actor has up to `ahead` of them.
        """
        workers, actors = min(self.workers, len(batches)), _Actors()
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a batch whose actor dies is tried again, or dropped, not the run
        context.max_consecutive_actor_init_deaths = workers  # so ends one that waits for room at the end
        context.execution_no_progress_timeout_s = self.silence
        items = ray.data.from_items(
            [
                {
                    "number": number,
                    "item": _Item(batch, frozenset(one.id for one in batch if one.id in wanted)),
                }
                for number, batch in enumerate(batches)
            ],
            override_num_blocks=len(batches),
        )
        done = items.map_batches(
            _Actor,
            fn_constructor_args=(self.worker, size, self.patience),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=ahead),
            num_gpus=gpus or None,
            num_cpus=None if gpus else 1,
            ray_remote_args_fn=actors.next,
        )
        finished = set()
        with actors.ended(ray):
            for row in done.iter_rows():
                finished.add(int(row["number"]))
                yield batches[int(row["number"])], row["outcome"]
        for number in sorted(set(range(len(batches))) - finished):
            yield batches[number], None
