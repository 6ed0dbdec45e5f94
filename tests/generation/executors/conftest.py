"""What the tests of executors share: the folder of an unbroken run, and a Ray cluster on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.generation.executors.faulty import Faulty
from tests.generation.executors.noise import EXECUTOR
from tests.generation.executors.test_processes import finish, images

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return images(finish(folder / "out", EXECUTOR, Faulty(folder)))


@contextmanager
def ray_nodes(*cores: int) -> "Iterator[Cluster]":
    """A head without cores for actors, and a node of each number of cores."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for number in cores:
        cluster.add_node(num_cpus=number, num_gpus=0)
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
