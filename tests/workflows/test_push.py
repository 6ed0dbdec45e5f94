"""`dalda push` against a Hub on loopback: what it uploads, what it confirms, and what it never shows."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants
from tests.workflows.drawn_set import drawn_set

from dalda.cache import cache_folder
from dalda.cli import app

TOKEN = "hf_" + "s" * 34


@dataclass
class FakeHub:
    """One data set of a Hub: what was asked, and the files that it holds (None: it is not there)."""

    files: dict[str, bytes] | None = None
    private: bool | None = None
    status: int = 200
    tokens: list[str | None] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        if self.status != 200:
            return self.status, {"error": "no"}
        if path == "/api/repos/create":
            if self.files is not None:
                return 409, {"error": "You already created this dataset repo"}
            self.files = {".gitattributes": b""}
            self.private = json.loads(body)["visibility"] == "private"
            return 200, {"url": f"{constants.ENDPOINT}/datasets/ann/more", "id": "1", "name": "ann/more"}
        if path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            rows = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return 200, {"files": rows}
        if "/commit/main" in path:
            assert self.files is not None
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return 200, {
                "commitUrl": f"{constants.ENDPOINT}/datasets/ann/more/commit/1",
                "commitOid": "1",
                "success": True,
            }
        siblings = [{"rfilename": name} for name in self.files or ()]
        return 200, {"id": "ann/more", "private": self.private, "siblings": siblings, "sha": "1"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            fake.tokens.append(self.headers.get("Authorization"))
            status, answer = fake.answer(self.command, self.path, self.rfile.read(length))
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_HEAD = handle_any

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return drawn_set(tmp_path, lora=str(tmp_path / "private/lora"))


def pushed(out: Path, *words: str) -> Result:
    result = CliRunner().invoke(app, ["push", str(out), "ann/more", *words])
    assert TOKEN not in result.output
    assert "Traceback" not in result.output
    return result


def test_a_push_is_private_and_holds_images_and_card(hub: FakeHub, out: Path) -> None:
    result = pushed(out)
    assert result.exit_code == 0, result.output
    assert "12 synthetic and 0 real images" in result.stdout
    assert f"{constants.ENDPOINT}/datasets/ann/more" in result.stdout
    assert hub.private is True
    assert hub.files is not None
    assert set(hub.files) == {
        *(".gitattributes", "README.md", "train-000000.parquet", "classes.json", "shards.json"),
    }
    rows = pyarrow.parquet.read_table(io.BytesIO(hub.files["train-000000.parquet"])).to_pylist()
    assert len(rows) == 12
    assert {json.loads(row["metadata"])["source"] for row in rows} == {"0.png", "1.png"}
    assert not [name for name, data in hub.files.items() if str(out.parent).encode() in data]
    assert set(hub.tokens) == {f"Bearer {TOKEN}"}
    assert not list(cache_folder("push").iterdir())


def test_no_place_of_any_file_is_uploaded(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("client/model").mkdir(parents=True)
    set_ = drawn_set(Path("client"))
    metadata = set_ / "train/metadata.jsonl"
    places = {
        "second_source": "client/real/boat/0.png",
        "more_sources": ["client/real/boat/0.png", str(tmp_path / "1.png")],
        "mask": "client/masks/boat/0.png",
        "adapter": "client/model:adapter.bin",
        "vae": "ann/vae",
    }
    lines = [json.dumps({**json.loads(line), **places}) for line in metadata.read_text().splitlines()]
    metadata.write_text("\n".join(lines) + "\n")
    assert pushed(set_).exit_code == 0
    assert hub.files is not None
    rows = pyarrow.parquet.read_table(io.BytesIO(hub.files["train-000000.parquet"])).to_pylist()
    found = json.loads(rows[0]["metadata"])
    names = {
        "second_source": "0.png",
        "more_sources": ["0.png", "1.png"],
        "mask": "0.png",
        "adapter": "model:adapter.bin",
        "vae": "ann/vae",
    }
    assert {name: found[name] for name in places} == names


def test_a_public_push_is_confirmed_first(hub: FakeHub, out: Path) -> None:
    result = pushed(out, "--public", "--with-real")
    assert result.exit_code == 2
    assert "everybody could see 12 synthetic images, their real images" in result.stderr
    assert hub.files is None
    assert not hub.tokens
    assert pushed(out, "--public", "--with-real", "--yes").exit_code == 0
    assert hub.private is False


def test_a_data_set_with_files_is_never_replaced(hub: FakeHub, out: Path) -> None:
    hub.files, hub.private = {".gitattributes": b"", "mine.txt": b"mine"}, True
    result = pushed(out)
    assert result.exit_code == 2
    assert "holds files already" in result.stderr
    assert set(hub.files) == {".gitattributes", "mine.txt"}


def test_what_an_interrupted_push_left_is_used(hub: FakeHub, out: Path) -> None:
    hub.files, hub.private = {".gitattributes": b""}, False
    assert "is public already" in pushed(out).stderr
    hub.private = True
    assert pushed(out).exit_code == 0


@pytest.mark.parametrize(
    ("status", "words"), [(401, "hf auth login"), (403, "hf auth login"), (500, "not uploaded")]
)
def test_a_refusal_is_one_sentence(hub: FakeHub, out: Path, status: int, words: str) -> None:
    hub.status = status
    result = pushed(out)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.strip().count("\n") <= 3


def test_a_hub_that_is_not_there_is_one_sentence(
    hub: FakeHub, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    result = pushed(out)
    assert result.exit_code == 2
    assert "was not uploaded" in result.stderr


@pytest.mark.parametrize("name", ["more", "a/b/c", "../x", "a b/c", "/x"])
def test_a_name_is_user_and_name(hub: FakeHub, out: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["push", str(out), name])
    assert result.exit_code == 2
    assert "hub" not in result.stderr or "USER/NAME" in result.stderr
    assert not hub.tokens or hub.files is None
