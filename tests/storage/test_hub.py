"""Data sets and synthetic sets of the Hugging Face Hub (`hf://`), read through a Hub on loopback."""

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.test_train_command import CLASSES, doodle, synthetic

from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.storage import StorageError, lock, object_store, path_of, read_bytes, write
from dalda.workflows.synthetic_sets import synthetic_set

ROOT = "hf://datasets/me/photos"


class _Hub(BaseHTTPRequestHandler):
    """The requests of HfFileSystem for one data set: what it is, its folders, its files."""

    server: "HubServer"

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        api, tree = "/api/datasets/me/photos", "/api/datasets/me/photos/tree/main"
        if path in (api, f"{api}/revision/main"):
            self._answer({"id": "me/photos", "sha": "0" * 40, "private": False, "tags": [], "downloads": 0})
        elif path.startswith(tree):
            recursive = "recursive=true" in self.path.lower()
            folder = self.server.folder / path.removeprefix(tree).strip("/")
            found = sorted(folder.rglob("*") if recursive else folder.glob("*"))
            if folder.is_dir():
                self._answer([self._entry(one) for one in found])
            else:
                self._refuse()
        elif path.startswith("/datasets/me/photos/resolve/main/"):
            file = self.server.folder / path.removeprefix("/datasets/me/photos/resolve/main/")
            self._send(file.read_bytes())
        else:
            self._refuse()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        paths = json.loads(body)["paths"] if body[:1] == "{" else urllib.parse.parse_qs(body)["paths"]
        self._answer([self._entry(self.server.folder / path) for path in paths if self._is_there(path)])

    def _is_there(self, path: str) -> bool:
        return (self.server.folder / path).exists()

    def _entry(self, file: Path) -> dict[str, object]:
        name = file.relative_to(self.server.folder).as_posix()
        oid = f"{hash((name, file.stat().st_mtime_ns)) & (1 << 128) - 1:040x}"
        if file.is_dir():
            return {"type": "directory", "path": name, "oid": oid, "size": 0}
        return {"type": "file", "path": name, "oid": oid, "size": file.stat().st_size}

    def _answer(self, content: object) -> None:
        self._send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def _refuse(self) -> None:
        self._send(b'{"error": "Entry not found"}', 404, {"X-Error-Code": "EntryNotFound"})

    def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        begin, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(begin) : int(end) + 1 if end else None]
        self.send_response(206 if self.headers.get("Range") else status)
        for name, value in {**(headers or {}), "ETag": '"1"', "Content-Length": str(len(part))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(part)


class HubServer(ThreadingHTTPServer):
    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Hub)
        self.folder = folder


def use(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    place = f"http://127.0.0.1:{port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", place)
    template = f"{place}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    object_store._store.cache_clear()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the data set on the Hub: class folders, and a synthetic set of them in `made`."""
    folder = tmp_path / "hub"
    for name in CLASSES:
        for number in range(3):
            part = "train" if number < 2 else "val"
            doodle(folder / part / name / f"{number}.png", name, number)
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    server = HubServer(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(monkeypatch, server.server_port)
    yield folder
    server.shutdown()
    server.server_close()
    object_store._store.cache_clear()


def test_a_data_set_is_read_from_the_hub(hub: Path) -> None:
    dataset = load_dataset(ROOT)
    assert dataset.classes == tuple(sorted(CLASSES))
    names = {path.name for files in dataset.parts["train"].values() for path in files}
    assert names == {"0.png", "1.png"}
    for label, files in dataset.parts["val"].items():
        assert [read_bytes(path) for path in files] == [(hub / f"val/{label}/2.png").read_bytes()]


def test_a_synthetic_set_is_read_from_the_hub(hub: Path, tmp_path: Path) -> None:
    synthetic(hub / "made", hub)
    made = synthetic_set(path_of(f"{ROOT}/made"))
    assert {image.label for image in made.images} == set(CLASSES)
    on_disk = SyntheticDataset.existing(hub / "made").synthetic_images()
    assert [read_bytes(image.path) for image in made.images] == [
        read_bytes(image.path) for image in on_disk
    ]


def test_nothing_is_written_to_the_hub(hub: Path) -> None:
    with pytest.raises(StorageError, match=r"'hf://.*/a.png' cannot be written: it is read-only here"):
        write(path_of(f"{ROOT}/a.png"), b"1")
    with pytest.raises(UserError, match="read-only here; name a folder"), lock(path_of(ROOT), "busy"):
        pass
    assert not (hub / "a.png").exists()


def test_a_hub_that_is_not_there_is_one_sentence_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, 9)
    started = time.monotonic()
    with pytest.raises(UserError, match="hf://datasets/me/photos"):
        load_dataset(ROOT)
    assert time.monotonic() - started < 60
