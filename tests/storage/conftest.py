"""A bucket of a real S3 server on loopback."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.s3_server import KEY, SECRET, s3_server

from dalda.storage import StorageError, object_store, path_of, write


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with s3_server(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture
def bucket(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A new folder of a bucket, which the server makes at the first write."""
    use(monkeypatch, port)
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    begin = path_of("s3://bucket/begin")
    for _ in range(60):
        try:
            write(begin, "1")
            break
        except StorageError:  # its volumes are not there yet
            time.sleep(0.5)
    yield path_of(f"s3://bucket/{uuid.uuid4().hex}")
    object_store._store.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    object_store._store.cache_clear()
