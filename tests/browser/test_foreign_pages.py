"""Other pages and names in a real browser: they read, embed and decide nothing of the running server's."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response
from tests.browser.conftest import Serve, Watched

from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.review.log import ReviewLog
from drawn_set import drawn_set

ATTACK = """async ([target, request]) => {
  const body = JSON.stringify({request_id: request, decision: "reject", author: "evil"});
  const sent = async (options) => {
    try {
      await fetch(`${target}api/decisions`, {method: "POST", body, ...options});
      return "answered";
    } catch { return "refused"; }
  };
  const added = (tag, fields) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => done("loaded");
    element.onerror = () => done("refused");
    Object.assign(element, fields);
    document.body.append(element);
  });
  const frame = document.createElement("iframe");
  frame.src = target;
  document.body.append(frame);
  const form = document.createElement("form");
  const post = {method: "POST", enctype: "text/plain", target: "sent"};
  Object.assign(form, {action: `${target}api/decisions`, ...post});
  const field = document.createElement("input");
  form.append(Object.assign(field, {name: body.slice(0, -1) + ',"x":"', value: '"}'}));
  const aim = document.createElement("iframe");
  aim.name = "sent";
  document.body.append(aim, form);
  form.submit();
  return {
    plain: await sent({mode: "no-cors", headers: {"Content-Type": "text/plain"}}),
    json: await sent({headers: {"Content-Type": "application/json"}}),
    image: await added("img", {src: `${target}images/${request}/small`}),
    script: await added("script", {src: `${target}review.js`, type: "module"}),
  };
}"""


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """The port of another page's server."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_another_page_can_read_embed_and_decide_nothing(
    tab: Watched, serve: Serve, tmp_path: Path, elsewhere: int, host: str
) -> None:
    out = drawn_set(tmp_path, ("car", "boat"), sources=1, copies=1)
    served, request = serve(out), SyntheticDataset.existing(out).synthetic_images()[0].request_id
    answers: list[int] = []
    page = tab.page

    def answered(one: Response) -> None:
        if one.url.startswith(served.address):
            answers.append(one.status)

    page.on("response", answered)
    page.goto(f"http://{host}:{elsewhere}/")
    found = page.evaluate(ATTACK, [served.address, request])
    assert found == dict.fromkeys(("plain", "json", "image", "script"), "refused")
    page.wait_for_timeout(300)
    assert not [frame for frame in page.frames if "Review" in frame.title()]
    assert answers
    assert set(answers) == {403}
    assert ReviewLog(out).decisions() == []


def test_a_foreign_name_that_leads_here_is_refused(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    served = serve(drawn_set(tmp_path, ("car", "boat"), sources=1, copies=1))
    answer = tab.page.goto(f"http://evil.example:{served.port}/")
    assert answer is not None
    assert answer.status == 403
    assert "does not answer to that host name" in tab.page.locator("body").inner_text()


def statuses(page: Page, addresses: list[str]) -> list[int]:
    found: list[int] = page.evaluate(
        "addresses => Promise.all(addresses.map(async (one) => (await fetch(one)).status))", addresses
    )
    return found


def test_nothing_outside_the_set_is_given_to_its_own_page(
    tab: Watched, serve: Serve, tmp_path: Path
) -> None:
    out = drawn_set(tmp_path, ("car", "boat"), sources=1, copies=1)
    tab.page.goto(serve(out).address)
    request = SyntheticDataset.existing(out).synthetic_images()[0].request_id
    assert statuses(tab.page, [f"images/{request}/small"]) == [200]
    outside = [
        "images/..%2f..%2f..%2freal%2fcar%2f00000.png/small",
        "images/%2e%2e/small",
        "sources/..%2f..%2f..%2fetc%2fpasswd/large",
        "..%2fdalda.yaml",
        "%2fetc%2fpasswd",
        "dalda.yaml",
        "review.jsonl",
    ]
    assert set(statuses(tab.page, outside)) <= {404, 422}
