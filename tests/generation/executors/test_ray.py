"""A real Ray cluster of two actors gives the folder of one process, whatever becomes of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from tests.generation.executors.test_local import EXECUTOR
from tests.generation.executors.test_processes import Faulty, check, finish, images

from dalda.generation.executors.ray import RayExecutor
from dalda.generation.executors.worker import Worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return images(finish(folder / "out", EXECUTOR, Faulty(folder)))


def actors(generator: Faulty) -> RayExecutor:
    return RayExecutor(Worker(generator, EXECUTOR, check), workers=2)


def test_an_actor_that_dies_is_replaced(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, dies_once_at=9)
    dataset = finish(tmp_path / "out", actors(generator), generator)
    assert (tmp_path / "die").exists()
    assert images(dataset) == whole
    assert not dataset.dropped()
