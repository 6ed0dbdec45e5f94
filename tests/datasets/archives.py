"""Small archives of the published data sets' layouts, and a loopback server that offers them."""

import hashlib
import io
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from dalda.datasets.class_names import published_classes
from dalda.datasets.download import SOURCES

Entries = dict[str, bytes | tarfile.TarInfo]


@dataclass
class Mirror:
    """What the server offers, and what it was asked for."""

    files: dict[str, bytes]
    address: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    breaks_after: int | None = None
    """Of the next answer only so many bytes are sent."""


def handler_of(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, span = self.path.rsplit("/", 1)[1], self.headers.get("Range")
            mirror.asked.append((name, span))
            body = mirror.files.get(name)
            if body is None:
                self.send_error(404)
                return
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            if span and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            sent, mirror.breaks_after = mirror.breaks_after, None
            self.wfile.write(body[start:] if sent is None else body[start : start + sent])

        def log_message(self, format: str, *args: object) -> None:
            """The test's output stays clean."""

    return Handler


@contextmanager
def serving() -> Iterator[Mirror]:
    """A mirror at an address of this machine."""
    shown = Mirror({})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(shown))
    shown.address = f"http://127.0.0.1:{server.server_port}/pub/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def packed(entries: Entries) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in entries.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def noise(name: str, size: int = 400) -> bytes:
    return np.random.default_rng(list(name.encode())).bytes(size)


def pets_files(extra: Entries | None = None) -> dict[str, bytes]:
    stems = [
        f"{label.replace(' ', '_')}_{number}" for label in published_classes("pets") for number in (1, 2)
    ]
    lines = "\n".join(f"{stem} {index // 2 + 1} 1 1" for index, stem in enumerate(stems)).encode()
    images: Entries = {f"images/{stem}.jpg": noise(stem) for stem in stems}
    lists: Entries = {"annotations/trainval.txt": lines, "annotations/test.txt": lines}
    return {"images.tar.gz": packed(images | (extra or {})), "annotations.tar.gz": packed(lists)}


def flowers_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        savemat(Path(place) / "labels.mat", {"labels": np.arange(1, 103)[None, :]})
        labels = (Path(place) / "labels.mat").read_bytes()
    images: Entries = {f"jpg/image_{number:05d}.jpg": noise(str(number)) for number in range(1, 103)}
    return {"102flowers.tgz": packed(images), "imagelabels.mat": labels}


def caltech_files() -> dict[str, bytes]:
    top = "101_ObjectCategories"
    images: Entries = {
        f"{top}/{label.replace(' ', '_')}/image_0001.jpg": noise(label)
        for label in published_classes("caltech101")
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as outer:
        outer.writestr("__MACOSX/caltech-101/._101_ObjectCategories.tar.gz", b"\0")
        outer.writestr("caltech-101/101_ObjectCategories.tar.gz", packed(images))
        outer.writestr("caltech-101/Annotations.tar", b"outlines")
    return {"caltech-101.zip": stream.getvalue()}


def offer(mirror: Mirror, monkeypatch: pytest.MonkeyPatch, dataset: str, files: dict[str, bytes]) -> None:
    """Serves `files` in place of the official ones: their addresses and checksums are the sources'."""
    mirror.files |= files
    own = tuple(
        replace(
            source,
            url=mirror.address + source.name,
            checksum="sha256:" + hashlib.sha256(files[source.name]).hexdigest(),
        )
        for source in SOURCES[dataset]
    )
    monkeypatch.setitem(SOURCES, dataset, own)
