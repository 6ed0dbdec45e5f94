"""Generation in several processes of this machine, a GPU each; this one writes, in the plan's order."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized

from dalda.errors import UserError
from dalda.generation.executors.base import Batch, Batches, LoadsGenerator, Sink
from dalda.generation.executors.worker import DIED, PATIENCE, Outcome, Worker, failed
from dalda.progress import say

BATCHES_PER_WORKER = 2
"""So that no worker waits while the first of the batches is written."""
HUNG = "its worker process did not answer"
_MINE: dict[str, Worker] = {}
"""In a worker process: its worker."""


def _begin(worker: Worker, number: "Synchronized[int]", gpus: list[str]) -> None:
    with number.get_lock():
        mine, number.value = number.value, number.value + 1
    if gpus:  # before CUDA is used for the first time
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[mine % len(gpus)]
    _MINE["worker"] = worker


def _generate(batch: Batch, size: int | None) -> Outcome:
    return _MINE["worker"].generate(batch, size)


def _batch_size(batch: Batch) -> int:
    return _MINE["worker"].batch_size(batch)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES has for them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [str(number) for number in range(torch.cuda.device_count())]
    return [name for name in named.split(",") if name.strip()] if named and found else found


@dataclass(frozen=True)
class ProcessExecutor:
    """Runs batches in `workers` processes. One that dies or hangs is replaced, its batch tried again."""

    worker: Worker
    workers: int
    patience: float = PATIENCE

    def run(self, spec: LoadsGenerator, batches: Batches, sink: Sink) -> None:
        """Generates all batches. Raises UserError if one does not fit into memory."""
        _Run(self, sink).run(batches)


@dataclass
class _Run:
    executor: ProcessExecutor
    sink: Sink
    waiting: deque[Batch] = field(default_factory=deque)
    """In the plan's order; the first is handed over first."""
    futures: dict[int, Future[Outcome]] = field(default_factory=dict)
    """By the number of the batch in the plan."""
    size: int = 0
    first: int = 0
    """Number of the first waiting batch."""
    careful: bool = False
    """After a death only the first batch runs: if its worker dies again, it is the cause."""
    begun: bool = False

    def run(self, batches: Batches) -> None:
        self._start()
        try:
            self.size = batches.size or self._batch_size(batches)
            stream = iter(batches.of_size(self.size))
            while self._fill(stream):
                batch = self.waiting[0]
                outcome = self._outcome(batch)
                if outcome is None:
                    continue
                self._take(batch, outcome)
                self.waiting.popleft()
                self.first += 1
        finally:
            self._kill()

    def _fill(self, stream: Iterator[Batch]) -> bool:
        """Keeps the workers busy. Returns whether there is anything left."""
        ahead = BATCHES_PER_WORKER * self.executor.workers
        while len(self.waiting) < ahead and (batch := next(stream, None)) is not None:
            self.waiting.append(batch)
        for number, batch in enumerate(self.waiting, self.first):
            if number not in self.futures and (number == self.first or not self.careful):
                try:
                    self.futures[number] = self.pool.submit(_generate, batch, self.size)
                except BrokenProcessPool:
                    break  # the first batch says so when it is asked for
        return bool(self.waiting)

    def _outcome(self, batch: Batch) -> Outcome | None:
        """Of the first batch; None if it is to be tried again."""
        try:
            outcome = self.futures.pop(self.first).result(timeout=self.executor.patience)
        except (BrokenProcessPool, TimeoutError, KeyError) as error:
            reason = HUNG if isinstance(error, TimeoutError) else DIED
            self._kill()
            self._start()
            if not self.careful:
                self.careful = True
                say(f"note: {reason.replace('its worker', 'a worker')}; it is replaced")
                return None
            return failed(batch, reason)
        self.careful = False
        return outcome

    def _take(self, batch: Batch, outcome: Outcome) -> None:
        """Gives a batch to the sink, and generates it again as long as that asks for it."""
        if outcome.error is not None:
            raise UserError(outcome.error)
        if not self.begun:
            self.sink.begin(self.size, outcome.execution)
            self.begun = True
        again = self.sink.take(batch, outcome.images, outcome.execution)
        if again is not None:
            self.waiting[0] = again
            repeated = None
            while repeated is None:
                self._fill(iter(()))
                repeated = self._outcome(again)
            self._take(again, repeated)

    def _batch_size(self, batches: Batches) -> int:
        try:
            return self.pool.submit(_batch_size, tuple(batches.requests[:1])).result(self.executor.patience)
        except (BrokenProcessPool, TimeoutError):
            raise UserError(
                "a worker process died while it loaded the model; try --workers 1, which says more"
            ) from None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.others: set[BaseProcess] = set(multiprocessing.active_children())
        self.futures.clear()
        self.pool = ProcessPoolExecutor(
            self.executor.workers,
            mp_context=context,
            initializer=_begin,
            initargs=(self.executor.worker, context.Value("i", 0), visible_gpus()),
        )

    def _kill(self) -> None:
        """Ends the worker processes, whatever they do."""
        for process in set(multiprocessing.active_children()) - self.others:
            process.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)
