"""A real Ray cluster of two actors gives the folder of one process, whatever becomes of them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from tests.generation.executors.conftest import ray_nodes
from tests.generation.executors.faulty import REQUESTS, Faulty, check
from tests.generation.executors.noise import EXECUTOR
from tests.generation.executors.test_processes import finish, images

from dalda.errors import UserError
from dalda.generation.executors.ray import RayExecutor
from dalda.generation.executors.worker import DIED, Worker
from dalda.generation.synthetic_dataset import SyntheticDataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Cluster]:
    with ray_nodes(2) as cluster:
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster


def actors(generator: Faulty, patience: float = 600) -> RayExecutor:
    return RayExecutor(Worker(generator, EXECUTOR, check), workers=2, patience=patience)


def test_an_actor_that_dies_is_replaced(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, dies_once_at=9)
    dataset = finish(tmp_path / "out", actors(generator), generator)
    assert (tmp_path / "die").exists()
    assert images(dataset) == whole
    assert not dataset.dropped()


def test_a_batch_that_cannot_be_generated_is_dropped_and_the_rest_goes_on(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    generator = Faulty(tmp_path, raises_at=5)
    dataset = finish(tmp_path / "out", actors(generator), generator)
    reasons = {line["request_id"]: line["reason"] for line in dataset.dropped()}
    assert reasons == {request.id: "ValueError: a strange prompt" for request in REQUESTS[4:8]}
    rest = {f"{request.id}.png" for request in (*REQUESTS[:4], *REQUESTS[8:])}
    assert images(dataset) == {name: whole[name] for name in rest}


def test_a_batch_that_ends_its_actor_every_time_is_dropped(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, dies_at=13)
    dataset = finish(tmp_path / "out", actors(generator), generator)
    reasons = {line["request_id"]: line["reason"] for line in dataset.dropped()}
    assert reasons == {request.id: DIED for request in REQUESTS[12:16]}
    rest = {f"{request.id}.png" for request in (*REQUESTS[:12], *REQUESTS[16:])}
    assert images(dataset) == {name: whole[name] for name in rest}


def test_an_actor_that_hangs_is_replaced(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, hangs_once_at=9)
    dataset = finish(tmp_path / "out", actors(generator, patience=10), generator)
    assert (tmp_path / "hang").exists()
    assert images(dataset) == whole
    assert not dataset.dropped()


def test_a_model_that_breaks_in_the_middle_stops_the_run(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, raises_from=4)
    with pytest.raises(UserError, match=r"16 images in a row are invalid, .* ValueError: a strange prompt"):
        finish(tmp_path / "out", actors(generator), generator)
    dataset = SyntheticDataset.existing(tmp_path / "out")
    assert not dataset.dropped()
    assert images(dataset) == {f"{x.id}.png": whole[f"{x.id}.png"] for x in REQUESTS[:4]}


def test_a_driver_that_was_killed_is_started_again(
    tmp_path: Path, whole: dict[str, bytes], cluster: Cluster
) -> None:
    generator = Faulty(tmp_path, hangs_once_at=9)
    executor = RayExecutor(Worker(generator, EXECUTOR, check), workers=2, address=cluster.address)
    driver = multiprocessing.get_context("spawn").Process(
        target=finish, args=(tmp_path / "out", executor, generator)
    )
    driver.start()
    while not (tmp_path / "hang").exists():
        assert driver.is_alive()
        time.sleep(0.1)
    os.kill(driver.pid or 0, signal.SIGKILL)
    driver.join()
    dataset = finish(tmp_path / "out", actors(generator), generator)
    assert images(dataset) == whole
    assert not dataset.dropped()
