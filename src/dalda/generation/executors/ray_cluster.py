"""A Ray cluster: connected to or started, and watched while there is work on it."""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dalda.errors import UserError, first_line

RETRIES = 2
"""Times that work is done again after its worker or its machine was lost."""
CHECK = 2.0
"""Seconds between two looks at the cluster's machines."""
ANSWER = 10.0
"""Seconds that the host of a cluster has to answer."""


@dataclass
class Watch:
    """Ends work that would wait for ever: Ray waits for room without a limit."""

    ray: Any
    gpus: float
    """Of each worker; without one it has a core."""
    replaced: float = 300.0
    """Seconds without a result and without room for a worker, after which the work ends."""

    def __post_init__(self) -> None:
        self.result()

    def result(self) -> None:
        """Called with each result."""
        self._well = time.monotonic()

    def look(self) -> None:
        """Called while none comes. Raises UserError when there was no room for too long."""
        name, each = ("GPU", self.gpus) if self.gpus else ("CPU", 1.0)
        machines = [node["Resources"].get(name, 0.0) for node in self.ray.nodes() if node["Alive"]]
        if max(machines, default=0.0) >= each:
            self.result()
        elif time.monotonic() - self._well > self.replaced:
            raise UserError(
                f"no machine of the Ray cluster has room for a worker ({each:g} {name}), and none came in "
                f"{self.replaced:.0f} s; what is finished is kept, run the same command again"
            )


def next_of(ray: Any, tasks: Iterable[Any], watch: Watch) -> Any:
    """The first task that has ended. Raises UserError where it would wait for ever."""
    waiting = list(tasks)
    while not (ended := ray.wait(waiting, timeout=CHECK)[0]):
        watch.look()
    watch.result()
    return ended[0]


def gpus_of_worker(ray: Any, asked: float | None) -> float:
    """What the user asks for, else 1 if the cluster has any."""
    return float(min(1.0, ray.cluster_resources().get("GPU", 0.0)) if asked is None else asked)


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`; one that is started here has room for `workers`.

    It ends with the block. Raises UserError where there is no such cluster.
    """
    # A thread of Ray's that outlives the connection must not start a cluster of its own.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
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
            _refuse_silent(address)
            ray.init(address=address, log_to_driver=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"there is no Ray cluster at '{address}' ({first_line(error)}); start one with "
            "ray start --head, or leave --ray-address out"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Raises OSError for HOST:PORT where nobody answers; Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
