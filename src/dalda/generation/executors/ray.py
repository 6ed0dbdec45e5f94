"""Generation on a Ray cluster: a Ray Data pipeline with a pool of actors, each with a generator of its own.

Ray restarts actors that die and gives their batches to others; it has the queues and the schedule. Images
come back to this process, whose sink writes them, in the plan's order.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from dalda.errors import UserError, first_line
from dalda.generation.executors.base import Batch, Batches, LoadsGenerator, Sink
from dalda.generation.executors.worker import DIED, PATIENCE, Outcome, Worker, failed

RETRIES = 2
"""Actors that a batch is given to after the first one died."""


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
        size = batches.size or ray.get(
            ray.remote(num_gpus=gpus)(_batch_size).remote(self.worker, tuple(batches.requests[:1]))
        )
        if isinstance(size, str):
            raise UserError(size)
        pending, begun = list(batches.of_size(size)), False
        while pending:
            again = []
            for batch, outcome in self._outcomes(ray, pending, size, gpus):
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
    ) -> Iterator[tuple[Batch, Outcome]]:
        """In the order of the batches; a block holds one, so that it is always the same slice."""
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a batch whose actor dies again and again is dropped, not the run
        items = ray.data.from_items(
            [{"number": number, "item": _Item(batch)} for number, batch in enumerate(batches)],
            override_num_blocks=len(batches),
        )
        done = items.map_batches(
            _Actor,
            fn_constructor_args=(self.worker, size, self.patience),
            batch_size=1,
            # One batch at a time, so that an actor that dies takes no other batch with it.
            compute=ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=1),
            num_gpus=gpus or None,
            num_cpus=None if gpus else 1,
            ray_remote_args_fn=partial(dict, max_task_retries=RETRIES),
        )
        finished = set()
        for row in done.iter_rows():
            finished.add(int(row["number"]))
            yield batches[int(row["number"])], row["outcome"]
        for number in sorted(set(range(len(batches))) - finished):
            yield batches[number], failed(batches[number], DIED, self.worker.local)


def gpus_of_worker(ray: Any, asked: float | None) -> float:
    """Without a wish one, if the cluster has any."""
    return float(min(1.0, ray.cluster_resources().get("GPU", 0.0)) if asked is None else asked)


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`; one that is started here has room for `workers`.

    It ends with the block. Raises UserError where there is no such cluster.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError("--executor ray needs Ray: pip install 'dalda[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        if address is None:
            cores = max(workers, os.cpu_count() or 1)
            ray.init("local", num_cpus=cores, log_to_driver=False, include_dashboard=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(
            f"there is no Ray cluster at '{address}' ({first_line(error)}); start one with "
            "ray start --head, or leave --ray-address out"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()
