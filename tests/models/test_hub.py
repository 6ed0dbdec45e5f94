"""Where models come from: folders, the cache, the Hub; and how soon a missing one is reported."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import huggingface_hub.constants as constants
import pytest
from tests.generation.stock import load, preset_of, request_of, source_of

from dalda.errors import UserError
from dalda.models import hub
from dalda.models.catalogue import revisions_of
from dalda.models.clip import load_clip
from dalda.models.hub import Place, place_of, revision_on_disk
from dalda.models.preset_options import with_adapter
from dalda.models.presets import preset_named


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Hub at an address where nobody answers."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return folder


def put(cache: Path, name: str, revision: str, folder: Path) -> None:
    """A model into the cache, as huggingface_hub lays it out."""
    place = cache / f"models--{name.replace('/', '--')}"
    commit = "a" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / revision).write_text(commit)
    (place / "snapshots").mkdir()
    (place / "snapshots" / commit).symlink_to(folder, target_is_directory=True)


def test_a_place_is_a_folder_or_an_id_with_a_revision(tmp_path: Path) -> None:
    strange = tmp_path / "me@home"
    strange.mkdir()
    assert place_of(str(strange)) == Place(str(strange))
    assert place_of(str(strange)).is_local
    assert place_of("somebody/model") == Place("somebody/model", None)
    assert place_of("somebody/model@v2") == Place("somebody/model", "v2")
    assert place_of("shipped:doodles/weights/model").is_local


def test_what_is_in_the_cache_needs_no_network(cache: Path, tmp_path: Path) -> None:
    preset = preset_of(tmp_path / "made")
    put(cache, "somebody/tiny", "v2", Path(str(preset.model)))
    put(cache, "somebody/adapter", "main", Path(str(preset.adapter)))
    cached = replace(preset, model="somebody/tiny@v2", adapter="somebody/adapter")
    assert revision_on_disk("somebody/tiny@v2") == revision_on_disk("somebody/adapter") == "a" * 40
    assert revision_on_disk("somebody/tiny") is None
    assert revision_on_disk(preset.model) is None
    found = revisions_of(replace(cached, image_encoder=f"{preset.adapter}:models/image_encoder"))
    assert found == {"somebody/tiny@v2": "a" * 40, "somebody/adapter": "a" * 40}
    (one,) = load(cached).generate([request_of(0, 0.5)], [source_of(0)])
    (other,) = load(preset).generate([request_of(0, 0.5)], [source_of(0)])
    assert one is not None
    assert one == other


def test_a_model_that_is_nowhere_is_reported_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match="Hub cannot be reached") as refused:
        load(replace(preset_named("sd15"), vae=None, model="somebody/model@v2"))
    sentence = str(refused.value)
    assert "hf download somebody/model --revision v2 --local-dir FOLDER" in sentence
    assert "--model FOLDER" in sentence
    assert "\n" not in sentence
    with pytest.raises(UserError, match="--vae FOLDER"):
        load(preset_named("sd14"))
    with pytest.raises(UserError, match="--model-option clip=FOLDER"):
        load_clip("somebody/clip", "cpu")
    with pytest.raises(UserError, match="neither a folder nor a Hub id; fix --model"):
        load(replace(preset_named("doodle"), model="no such folder"))
    assert time.monotonic() - started < 10


def test_what_cannot_be_read_in_the_cache_is_not_asked_for_again(cache: Path, tmp_path: Path) -> None:
    preset = preset_of(tmp_path / "made")
    put(cache, "somebody/tiny", "main", Path(str(preset.model)))
    config = Path(str(preset.model)) / "unet/config.json"
    config.write_text(config.read_text().replace('"norm_num_groups": 8', '"norm_num_groups": 7'))
    with pytest.raises(UserError, match=r"cannot be loaded .*--model"):
        load(replace(preset, model="somebody/tiny"))


def test_a_part_of_an_adapters_repository_is_enough(cache: Path, tmp_path: Path) -> None:
    """One that has the adapter and its own image encoder, but not the preset's."""
    preset = preset_of(tmp_path / "made")
    folder = Path(str(preset.adapter))
    (folder / "models").rename(folder / "xl_models")
    put(cache, "somebody/adapter", "main", folder)
    load(with_adapter(preset, "somebody/adapter:xl_models/tiny.safetensors"))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """A Hub that gives every question the listed status and error; none listed: it never answers."""
    given: list[tuple[int, str]] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not given:
                over.wait(20)
                return
            status, error = given[0]
            self.send_response(status)
            self.send_header("X-Error-Code", error)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield given
    over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (404, "RepoNotFound", "no public model of that name"),
        (404, "RevisionNotFound", "has no revision 'v2'"),
        (403, "GatedRepo", "accept its terms"),
        (401, "RepoNotFound", "no public model of that name"),
        (500, "", "Hub cannot be reached"),
    ],
)
def test_what_the_hub_says_is_one_sentence(
    answers: list[tuple[int, str]], status: int, error: str, sentence: str
) -> None:
    answers.append((status, error))
    with pytest.raises(UserError, match=sentence) as refused:
        load(replace(preset_named("doodle"), model="somebody/model@v2"))
    assert "\n" not in str(refused.value)


def test_a_hub_that_hangs_is_given_up_soon(
    answers: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not answers
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    started = time.monotonic()
    with pytest.raises(UserError, match="Hub cannot be reached"):
        load(replace(preset_named("doodle"), model="somebody/model"))
    assert time.monotonic() - started < 5
