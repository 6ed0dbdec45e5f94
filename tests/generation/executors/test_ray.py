"""A real Ray cluster of two actors gives the folder of one process, whatever becomes of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from tests.generation.executors.test_local import EXECUTOR
from tests.generation.executors.test_processes import REQUESTS, Faulty, check, finish, images

from dalda.errors import UserError
from dalda.generation.executors.ray import RayExecutor
from dalda.generation.executors.worker import DIED, Worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
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


def test_a_batch_that_cannot_be_generated_is_dropped(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, raises_at=5, dies_at=13)
    dataset = finish(tmp_path / "out", actors(generator), generator)
    reasons = {line["request_id"]: line["reason"] for line in dataset.dropped()}
    raised = {request.id: "ValueError: a strange prompt" for request in REQUESTS[4:8]}
    assert reasons == raised | {request.id: DIED for request in REQUESTS[12:16]}
    rest = {f"{request.id}.png" for request in (*REQUESTS[:4], *REQUESTS[8:12], *REQUESTS[16:])}
    assert images(dataset) == {name: whole[name] for name in rest}


def test_a_run_that_was_stopped_resumes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    generator = Faulty(tmp_path, refuses_at=18)
    with pytest.raises(UserError, match="server is gone"):
        finish(tmp_path / "out", actors(generator), generator)
    fixed = Faulty(tmp_path)
    assert images(finish(tmp_path / "out", actors(fixed), fixed)) == whole
