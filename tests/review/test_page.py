"""The review page's server: who may ask, what it gives, and that no path ever comes from a request."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from dalda.errors import UserError
from dalda.review import page as review
from dalda.review.guard import host_allowed, host_of
from dalda.review.log import ReviewLog
from dalda.review.page import Review, review_app
from dalda.review.server import address_of, listen
from dalda.review.thumbnails import Thumbnails
from dalda.types import SyntheticImage

SCRIPTS = [file for file in review.STATIC.iterdir() if file.name.endswith(".js")]
HERE = "http://127.0.0.1:7860"
DECISION = {"request_id": "one", "decision": "reject", "author": "page"}


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def image(path: Path, size: tuple[int, int] = (32, 32), shade: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 20, 20)).save(path)
    return path


class Served:
    """A folder with one synthetic image, and a client of its review app."""

    def __init__(self, folder: Path, bound: str = "127.0.0.1") -> None:
        self.out = folder / "out"
        self.source = image(folder / "real/a.png", shade=90)
        self.image = image(self.out / "train/car/one.png")
        label = "<script>alert(1)</script>"
        sha256 = hash_of(self.source)
        synthetic = SyntheticImage(self.image, label, self.source, sha256, 0, "one", "a car", 0.5, 0.2)
        review = Review(self.out, [synthetic], Thumbnails(folder / "cache"), lambda: {"state": "missing"})
        self.client = TestClient(review_app(review, bound), base_url=HERE, raise_server_exceptions=False)

    def decisions(self) -> list[str]:
        return [one.decision for one in ReviewLog(self.out).decisions()]

    def post(self, body: Any = DECISION, **headers: str) -> int:
        content = body if isinstance(body, str) else json.dumps(body)
        sent = {"origin": HERE, "content-type": "application/json", **headers}
        return int(self.client.post("/api/decisions", content=content, headers=sent).status_code)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_everything_that_the_page_asks_for_is_there(served: Served) -> None:
    for name in review.PAGE_FILES:
        answer = served.client.get(f"/{name}")
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
    for script in SCRIPTS:
        assert script.name in review.PAGE_FILES
    data = served.client.get("/api/images").json()
    assert data["classes"] == ["<script>alert(1)</script>"]
    assert data["rows"] == [["one", 0, 0, 0, 0.5, 0.2, 0]]
    assert str(served.out.parent) not in json.dumps(data)


def test_no_script_or_style_stands_in_the_page() -> None:
    """The content security policy refuses them, and strangers' text never becomes markup."""
    page = (review.STATIC / "review.html").read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert " on" + "click" not in page
    assert page.count("<script") == page.count('<script type="module" src=') == 1
    for script in SCRIPTS:
        text = script.read_text()
        assert not [word for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(") if word in text]


def test_a_decision_is_taken_once_and_sent_to_others(served: Served) -> None:
    assert served.post() == 200
    assert served.decisions() == ["reject"]
    answer = served.client.get("/api/decisions").json()
    assert (answer["from"], len(answer["lines"])) == (0, 1)
    assert {**answer["lines"][0], **DECISION} == answer["lines"][0]
    assert served.client.get("/api/decisions?since=1").json() == {"from": 1, "lines": []}
    assert served.client.get("/api/decisions?since=7").json()["from"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example:7860"},
        {"host": "localhost.evil.example"},
        {"host": "192.168.0.7:7860"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:7860"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_foreign_pages_and_names_are_refused(served: Served, headers: dict[str, str]) -> None:
    for address in ("/", "/api/images", "/images/one/small"):
        assert served.client.get(address, headers=headers).status_code == 403
    assert served.post(**headers) == 403
    assert not served.decisions()


def test_a_post_that_hides_where_it_comes_from_is_refused(served: Served) -> None:
    assert served.client.post("/api/decisions", json=DECISION).status_code == 403
    assert not served.decisions()


def test_a_link_may_open_the_page_and_nothing_else(served: Served) -> None:
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
    assert served.client.get("/", headers=followed).status_code == 200
    assert served.client.get("/", headers={**followed, "sec-fetch-dest": "iframe"}).status_code == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "localhost:9"]
)
def test_this_machines_names_are_answered(served: Served, host: str) -> None:
    assert served.client.get("/", headers={"host": host}).status_code == 200


def test_a_server_that_was_opened_answers_to_addresses_but_not_to_any_name() -> None:
    assert host_allowed("192.168.0.7:7860", "0.0.0.0")
    assert host_allowed("[fe80::1]:7860", "::")
    assert host_allowed("studio.lan:7860", "studio.lan")
    assert not host_allowed("evil.example:7860", "0.0.0.0")
    assert not host_allowed("192.168.0.7:7860", "127.0.0.1")


@given(st.text(max_size=30))
def test_any_host_header_is_read(header: str) -> None:
    assert isinstance(host_of(header), str)
    assert not host_allowed(header + ".evil.example", "127.0.0.1")


@pytest.mark.parametrize(
    "address",
    [
        "/images/two/small",
        "/images/one/huge",
        "/images/..%2f..%2freal%2fa.png/small",
        "/images/%2e%2e/small",
        "/sources/one/small",
        "/sources/..%2f..%2f..%2fetc%2fpasswd/small",
        "/..%2fdalda.yaml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/review.js",
        "/review.py",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_can_be_asked_for(served: Served, address: str) -> None:
    assert served.client.get(address).status_code in (404, 422)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        {**DECISION, "decision": "delete"},
        {**DECISION, "author": "<b>"},
        {**DECISION, "request_id": "x" * 81},
        {**DECISION, "path": "/etc/passwd"},
        {"request_id": "one"},
    ],
)
def test_what_is_no_decision_is_not_written(served: Served, body: Any) -> None:
    assert served.post(body) == 422
    assert not served.decisions()


def test_an_unknown_sample_and_a_long_request_are_refused(served: Served) -> None:
    assert served.post({**DECISION, "request_id": "two"}) == 404
    assert served.post({**DECISION, "request_id": "x" * 5000}) == 403
    assert not served.decisions()


def test_a_link_that_leads_out_of_the_folder_is_not_followed(served: Served, tmp_path: Path) -> None:
    secret = image(tmp_path / "private/me.png")
    served.image.unlink()
    served.image.symlink_to(secret)
    answer = served.client.get("/images/one/small")
    assert answer.status_code == 409
    assert "outside" in answer.json()["detail"]
    assert str(tmp_path) not in answer.text


def test_a_source_that_is_not_the_one_that_is_meant_is_not_shown(served: Served) -> None:
    address = f"/sources/{hash_of(served.source)}/small"
    image(served.source, shade=1)
    answer = served.client.get(address)
    assert answer.status_code == 409
    assert "not the one" in answer.json()["detail"]


def test_a_lost_image_is_reported_and_the_rest_works(served: Served) -> None:
    served.image.unlink()
    assert served.client.get("/images/one/large").status_code == 409
    assert served.client.get("/").status_code == 200


def test_thumbnails_are_made_once_and_again_when_the_image_changes(served: Served, tmp_path: Path) -> None:
    first = served.client.get("/images/one/small").content
    (kept,) = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept.read_bytes() == first
    kept.write_bytes(b"from the cache")
    assert served.client.get("/images/one/small").content == b"from the cache"
    image(served.image, size=(40, 40), shade=3)
    assert Image.open(io.BytesIO(served.client.get("/images/one/small").content)).size == (40, 40)
    assert not [path for path in served.out.rglob("*") if path.is_file() and path != served.image]


def test_a_browser_asks_again_for_a_sample_but_not_for_a_source(served: Served) -> None:
    """The same request id stands for another image in another set, or after a change of the file."""
    first = served.client.get("/images/one/small")
    assert "no-cache" in first.headers["cache-control"]
    known = {"if-none-match": first.headers["etag"]}
    same = served.client.get("/images/one/small", headers=known)
    assert (same.status_code, same.content) == (304, b"")
    image(served.image, shade=3)
    other = served.client.get("/images/one/small", headers=known)
    assert other.status_code == 200
    assert other.content != first.content
    source = served.client.get(f"/sources/{hash_of(served.source)}/small")
    assert "max-age=86400" in source.headers["cache-control"]


def test_a_cache_that_cannot_be_written_costs_only_time(served: Served, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert served.client.get("/images/one/small").status_code == 200


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 64), (64, 64)), ((512, 256), (192, 96)), ((3000, 10), (192, 1))]
)
def test_thumbnails_are_small(served: Served, size: tuple[int, int], shown: tuple[int, int]) -> None:
    Image.effect_noise(size, 90).convert("RGB").save(served.image)
    thumbnail = Image.open(io.BytesIO(served.client.get("/images/one/small").content))
    assert thumbnail.size == shown
    if size == shown:  # what the page enlarges is kept without loss
        assert thumbnail.convert("RGB").tobytes() == Image.open(served.image).tobytes()


def test_a_taken_port_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert address_of(bound, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        with pytest.raises(UserError, match=rf"port {port} on 127\.0\.0\.1 is in use.*--port"):
            listen("127.0.0.1", port)
    with pytest.raises(UserError, match="--port"):
        listen("127.0.0.1", 70000)
    with pytest.raises(UserError, match="cannot be used"):
        listen("192.0.2.1", 0)
