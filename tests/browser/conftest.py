"""A real headless Chromium, `dalda review` as a process of its own, and axe-core."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, expect

import browsing
from browsing import Served

AXE = Path(__file__).parents[2] / "build/axe/node_modules/axe-core/axe.min.js"
PATIENCE = 60_000
"""Milliseconds: what is waited for comes in a moment, unless the machine is busy."""
NEEDED = "DALDA_BROWSER_TESTS"
"""Set to `required`, as .ci/run does: then what is missing here is a failure, never a skip."""
Serve = Callable[..., Served]


def missing(what: str) -> NoReturn:
    """Skips a test for which something is not installed, or fails it where it must run."""
    if os.environ.get(NEEDED) == "required":
        pytest.fail(f"{what} ({NEEDED} is 'required')")
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if browsing.CHROMIUM is None:
        missing(browsing.MISSING)
    expect.set_options(timeout=PATIENCE)
    with browsing.chromium() as launched:
        yield launched


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[Served] = []

    def start(out: Path, port: int = 0) -> Served:
        running.append(browsing.serve(out, tmp_path / "cache", port))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@dataclass
class Watched:
    """A tab, with what it complained of and what it asked the network for."""

    page: Page
    faults: list[str]
    requests: list[str]


def watched(context: BrowserContext) -> Watched:
    tab = Watched(context.new_page(), [], [])

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            tab.faults.append(message.text)

    def asked(dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # what was decided is on its way, and the test waits on the disk
            dialog.accept()
            return
        tab.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    tab.page.set_default_timeout(PATIENCE)
    tab.page.on("console", on_console)
    tab.page.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.page.on("dialog", asked)
    tab.page.on("request", lambda request: tab.requests.append(request.url))
    return tab


@pytest.fixture
def tab(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield watched(context)
    context.close()


def serious(page: Page) -> list[str]:
    """What axe-core finds serious or critical in a page, each with the places."""
    if not AXE.is_file():
        missing("there is no axe-core here; make browser fetches it")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} ({', '.join(str(node['target']) for node in one['nodes'][:5])})"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
