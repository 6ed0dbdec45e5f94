"""A run on a real Ray cluster that loses a machine goes on where there is room, else it ends."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from tests.generation.executors.conftest import ray_nodes
from tests.generation.executors.faulty import REQUESTS, Faulty, check
from tests.generation.executors.noise import EXECUTOR
from tests.generation.executors.test_processes import finish, images

from dalda.errors import UserError
from dalda.generation.executors.ray import RayExecutor
from dalda.generation.executors.worker import Worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_nodes(1, 1) as cluster:
        yield cluster


def actors(cluster: Cluster, generator: Faulty, silence: float = 600) -> RayExecutor:
    worker = Worker(generator, EXECUTOR, check)
    return RayExecutor(worker, workers=2, address=cluster.address, silence=silence)


def raylet(node: Any) -> str:
    """Its process, by which a worker knows its node."""
    return str(node.all_processes["raylet"][0].process.pid)


def lose_the_node(cluster: Cluster, generator: Faulty) -> threading.Thread:
    """Takes the node away whose actor hangs, in the middle of the plan."""

    def lose() -> None:
        hanging = generator.folder / "hang"
        while not (hanging.exists() and hanging.read_text()):
            time.sleep(0.1)
        (lost,) = (node for node in cluster.worker_nodes if hanging.read_text() == raylet(node))
        cluster.remove_node(lost, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    return thread


def test_a_lost_node_that_is_not_replaced_leaves_its_batch_to_the_others(
    tmp_path: Path, whole: dict[str, bytes], cluster: Cluster
) -> None:
    generator = Faulty(tmp_path, hangs_once_at=9)
    thread = lose_the_node(cluster, generator)
    dataset = finish(tmp_path / "out", actors(cluster, generator), generator)
    thread.join()
    assert images(dataset) == whole
    assert len(list(dataset.lines())) == len(REQUESTS)
    assert not dataset.dropped()


def test_the_last_node_that_is_lost_ends_the_run_which_is_resumed(
    tmp_path: Path, whole: dict[str, bytes], cluster: Cluster
) -> None:
    for node in list(cluster.worker_nodes)[1:]:
        cluster.remove_node(node, allow_graceful=False)
    generator = Faulty(tmp_path, hangs_once_at=9)
    thread = lose_the_node(cluster, generator)
    with pytest.raises(UserError, match=r"the Ray cluster cannot go on \(.*\); what is finished is kept"):
        finish(tmp_path / "out", actors(cluster, generator, 25), generator)
    thread.join()
    # By one process: what Ray keeps on a lost machine may end the next run on the same cluster too.
    assert images(finish(tmp_path / "out", EXECUTOR, generator)) == whole
