"""A run on a cluster ends when it would wait for ever, and not before."""

import socket
import time
from dataclasses import dataclass, field

import pytest

from dalda.errors import UserError
from dalda.generation.executors import ray_cluster
from dalda.generation.executors.ray_cluster import Watch, connected


@dataclass
class Machines:
    """Stands for the module `ray`, and for the clock."""

    gpus: list[float] = field(default_factory=lambda: [2.0, 2.0])
    now: float = 0.0

    def nodes(self) -> list[dict[str, object]]:
        gone = {"Alive": False, "Resources": {"GPU": 8.0}}
        return [gone, *({"Alive": True, "Resources": {"GPU": gpus}} for gpus in self.gpus)]

    def monotonic(self) -> float:
        return self.now

    def at(self, now: float, *gpus: float) -> None:
        self.now, self.gpus = now, list(gpus)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    found = Machines()
    monkeypatch.setattr(ray_cluster, "time", found)
    return found


def test_the_last_machine_is_waited_for_and_no_longer(machines: Machines) -> None:
    watch = Watch(machines, gpus=1)
    machines.at(10_000, 2, 2)
    watch.look()  # a slow batch, and all machines are there
    machines.at(10_200, 2)
    watch.look()  # one is lost: the others go on
    machines.at(10_499)
    watch.look()
    machines.at(10_501)
    with pytest.raises(UserError, match=r"has room for a worker \(1 GPU\), and none came in 300 s"):
        watch.look()


def test_a_machine_that_comes_in_time_and_late_results_go_on(machines: Machines) -> None:
    watch = Watch(machines, gpus=1)
    for now, gpus in ((290, []), (299, [1.0]), (590, [])):
        machines.at(now, *gpus)
        watch.look()
    watch.result()
    machines.at(880)
    watch.look()


def test_a_worker_has_its_gpus_on_one_machine(machines: Machines) -> None:
    watch = Watch(machines, gpus=4)
    machines.at(301, 2, 2)
    with pytest.raises(UserError, match=r"4 GPU"):
        watch.look()


def test_an_address_where_nobody_answers_is_soon_one_sentence() -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"ray://127.0.0.1:{server.getsockname()[1]}"
    started = time.monotonic()
    for address in (silent, "nowhere.invalid:6379"):
        with pytest.raises(UserError, match=f"there is no Ray cluster at '{address}'"):
            connected(address, 1).__enter__()
    assert time.monotonic() - started < 2 * ray_cluster.ANSWER
