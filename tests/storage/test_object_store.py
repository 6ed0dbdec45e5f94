"""Synthetic sets, data sets and runs in a real S3 bucket, whatever the network does."""

import multiprocessing
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.generation.executors.faulty import REQUESTS, Faulty, check
from tests.generation.executors.noise import EXECUTOR
from tests.generation.executors.test_processes import finish
from tests.storage.conftest import use
from tests.storage.s3_server import FaultyProxy

from dalda.datasets.image_folder import read_folder
from dalda.errors import UserError
from dalda.generation.executors.base import Batch, Batches, Executor, LoadsGenerator, Sink
from dalda.generation.executors.ray import RayExecutor
from dalda.generation.executors.worker import Worker
from dalda.generation.image_encoding import REPEATED, EncodedImage
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.storage import (
    Address,
    StorageError,
    list_folder,
    lock,
    object_store,
    path_of,
    read_bytes,
    write,
)
from dalda.storage.object_store import object_at

pytestmark = pytest.mark.slow


def files(folder: Path) -> dict[str, bytes]:
    paths = list(folder.rglob("*")) if not isinstance(folder, Address) else []
    names = (
        [name for name, _ in folder.files()]
        if isinstance(folder, Address)
        else [path.relative_to(folder).as_posix() for path in paths if path.is_file()]
    )
    return {name: read_bytes(folder / name) for name in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    finish(folder / "out", EXECUTOR, Faulty(folder))
    return files(folder / "out")


def test_a_set_in_a_bucket_is_that_of_a_disk(bucket: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    dataset = finish(bucket / "out", EXECUTOR, Faulty(tmp_path))
    assert files(bucket / "out") == whole
    assert dataset.missing(REQUESTS) == []
    assert [image.request_id for image in dataset.synthetic_images()] == [one.id for one in REQUESTS]


def test_a_killed_run_is_resumed_by_listing(bucket: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    generator = Faulty(tmp_path, hangs_once_at=len(REQUESTS) - 2)
    process = multiprocessing.get_context("spawn").Process(
        target=finish, args=(bucket / "out", EXECUTOR, generator)
    )
    process.start()
    while not any("/.metadata.jsonl.pieces/" in name for name in files(bucket / "out")):
        assert process.is_alive()
        time.sleep(0.2)
    process.kill()
    process.join()
    assert any(name.startswith(".dalda-lease-") for name in files(bucket / "out"))
    finish(bucket / "out", EXECUTOR, generator)
    assert files(bucket / "out") == whole


@dataclass
class Received:
    """A sink that counts the bytes of images that come back to it."""

    sink: Sink
    bytes: int = 0

    def begin(self, batch_size: int, execution: Mapping[str, object]) -> None:
        self.sink.begin(batch_size, execution)

    def take(
        self, batch: Batch, images: Sequence[EncodedImage], execution: Mapping[str, object]
    ) -> Batch | None:
        self.bytes += sum(len(image.data) for image in images)
        return self.sink.take(batch, images, execution)


@dataclass
class Counted:
    """An executor, and what its sink received."""

    executor: Executor
    received: int = 0

    def run(self, spec: LoadsGenerator, batches: Batches, sink: Sink) -> None:
        between = Received(sink)
        self.executor.run(spec, batches, between)
        self.received += between.bytes


def on_ray(folder: Path, generator: Faulty) -> Counted:
    store = SyntheticDataset.open(folder, {}).store
    return Counted(RayExecutor(Worker(generator, EXECUTOR, check, store=store), workers=2))


def test_actors_put_images_themselves(bucket: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    generator = Faulty(tmp_path, dies_once_at=9)
    executor = on_ray(bucket / "out", generator)
    finish(bucket / "out", executor, generator)
    assert executor.received == 0
    assert files(bucket / "out") == whole
    lost = REQUESTS[5]
    object_at(bucket / "out/train/car" / f"{lost.id}.png").remove()
    finish(bucket / "out", executor, generator)
    others = [name for name in whole if Path(name).stem in {one.id for one in REQUESTS[4:8]} - {lost.id}]
    assert executor.received == sum(len(whole[name]) for name in others)  # generated again, but not stored
    assert files(bucket / "out") == whole


def test_what_an_actor_put_and_is_not_kept_is_taken_back(bucket: Path, tmp_path: Path) -> None:
    generator = Faulty(tmp_path, repeats=(2, 3))
    dataset = finish(bucket / "out", on_ray(bucket / "out", generator), generator)
    (dropped,) = dataset.dropped()
    assert (dropped["request_id"], dropped["reason"]) == (REQUESTS[3].id, REPEATED)
    assert {Path(name).stem for name in files(bucket / "out") if name.endswith(".png")} == {
        request.id for request in REQUESTS
    } - {REQUESTS[3].id}


def test_errors_slow_answers_and_lost_connections_change_nothing(
    bucket: Path, port: int, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = FaultyProxy(port)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        use(monkeypatch, proxy.server_port)
        finish(bucket / "out", EXECUTOR, Faulty(tmp_path))
        assert files(bucket / "out") == whole
        assert min(proxy.faults.values()) >= 2
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_a_server_that_is_gone_is_one_sentence(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "RETRIES", {**object_store.RETRIES, "max_retries": 1})
    use(monkeypatch, 9)
    with pytest.raises(StorageError, match=r"'s3://bucket/.*' cannot be read: .*; fix this and run"):
        list_folder(bucket)


def test_what_a_store_refuses_is_one_sentence(
    bucket: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"'s3://bukcet/a' cannot be read: the store has no such bucket"):
        read_folder(path_of("s3://bukcet/a"))
    assert path_of("s3://bucket").is_dir()
    assert "begin" in list_folder("s3://bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    object_store._store.cache_clear()
    for attempt in (
        lambda: read_bytes(bucket / "a"),
        lambda: list_folder(bucket),
        lambda: write(bucket / "a", "1"),
    ):
        with pytest.raises(StorageError, match=r"the key is not valid, or has no right to do this \(403"):
            attempt()


def test_one_process_at_a_time_by_a_put_that_creates_or_fails(bucket: Path) -> None:
    with lock(bucket, "busy"), pytest.raises(UserError, match="busy"), lock(bucket, "busy"):
        pass
    assert list_folder(bucket) == []
    stored = object_at(bucket / "one")
    assert stored.create(b"a")
    assert not stored.create(b"b")
    assert stored.read() == b"a"
