"""The review page in a real browser: keys, a killed server, two tabs, strange names, accessibility."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, Route, expect
from tests.browser.conftest import PATIENCE, Serve, Watched, serious, watched

from dalda.review.log import ReviewLog, rejected
from drawn_set import drawn_set

STRANGE = ("<script>alert(1)</script>", "../../etc", '"><img src=x onerror=alert(1)>')
SMALL = ("car", "boat")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def opened(tab: Watched, address: str) -> Page:
    tab.page.goto(address)
    expect(tab.page.locator(".synthetic[aria-selected=true]")).to_have_count(1)
    return tab.page


def counter(page: Page, kept: int, thrown: int, left: int) -> None:
    expect(page.locator("#counter")).to_contain_text(f"{kept} kept, {thrown} rejected, {left} undecided")


def selected(page: Page) -> str:
    """The request id of the selected image."""
    address = page.locator(".synthetic[aria-selected=true] img").get_attribute("src")
    assert address is not None
    return address.split("/")[1]


def soon(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(PATIENCE // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    assert holds()


def test_decisions_by_key_survive_a_reload_and_a_killed_server(
    tab: Watched, serve: Serve, tmp_path: Path
) -> None:
    out = drawn_set(tmp_path, SMALL)
    served = serve(out)
    page = opened(tab, served.address)
    counter(page, 0, 0, 20)
    first = selected(page)
    page.keyboard.press("r")
    second = selected(page)
    page.keyboard.press("k")
    third = selected(page)
    page.keyboard.press("r")
    assert len({first, second, third}) == 3
    counter(page, 1, 2, 17)
    page.keyboard.press("u")
    counter(page, 1, 1, 18)
    assert selected(page) == third
    soon(page, lambda: len(ReviewLog(out).decisions()) == 4)
    served.kill()
    assert rejected(out) == {first}

    page.keyboard.press("r")
    alert = page.locator("#alert")
    expect(alert).to_contain_text(
        re.compile(r"^Not saved: \w+, image \d of 0000\d\.png\. The server does not")
    )
    counter(page, 1, 1, 18)

    again = serve(out, served.port)
    assert again.address == served.address
    expect(alert).not_to_contain_text("The server")
    expect(alert).to_contain_text("Not saved: ")  # the server is back, and what was lost is still named
    page.keyboard.press("k")
    counter(page, 2, 1, 17)
    expect(alert).to_contain_text("Not saved: ")
    expect(page.locator(".synthetic.unsaved")).to_have_count(1)
    page.locator("#retry").click()
    counter(page, 2, 2, 16)
    expect(alert).to_be_hidden()
    soon(page, lambda: rejected(out) == {first, third})
    page.reload()
    counter(page, 2, 2, 16)
    expect(page.locator(".synthetic.reject")).to_have_count(2)
    page.keyboard.press("u")
    counter(page, 2, 1, 17)
    assert selected(page) == third
    for left in (18, 19, 20):
        page.keyboard.press("u")
        expect(page.locator("#counter")).to_contain_text(f"{left} undecided")
    soon(page, lambda: not rejected(out))
    expected = ["reject", "keep", "reject", "undo", "keep", "reject", "undo", "undo", "undo", "undo"]
    soon(page, lambda: [line.decision for line in ReviewLog(out).decisions()] == expected)
    assert len(list(out.rglob("*.png"))) == 20


def test_of_two_tabs_the_last_word_wins_and_each_undoes_its_own(
    browser: Browser, tab: Watched, serve: Serve, tmp_path: Path
) -> None:
    out = drawn_set(tmp_path, SMALL, sources=1)
    served = serve(out)
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    one, other = opened(tab, served.address), opened(watched(context), served.address)
    image = selected(one)
    assert selected(other) == image
    one.keyboard.press("r")
    counter(other, 0, 1, 9)
    other.keyboard.press("k")
    counter(one, 1, 0, 9)
    assert rejected(out) == frozenset()
    one.keyboard.press("ArrowRight")
    one.keyboard.press("u")  # its own decision holds no longer, and the selected image has none
    other.keyboard.press("u")
    counter(one, 0, 0, 10)
    soon(one, lambda: [line.decision for line in ReviewLog(out).decisions()] == ["reject", "keep", "undo"])
    assert len({line.author for line in ReviewLog(out).decisions()}) == 2
    ReviewLog(out).append(image, "reject", "elsewhere")
    counter(one, 0, 1, 9)
    context.close()


def test_a_duplicated_tab_undoes_its_own(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, SMALL, sources=1)
    one = opened(tab, serve(out).address)
    one.keyboard.press("r")
    counter(one, 0, 1, 9)
    with one.expect_popup() as opening:
        one.evaluate("open(location.href)")  # comes with the storage of this one, as a duplicate does
    other = opening.value
    counter(other, 0, 1, 9)
    other.keyboard.press("End")
    other.keyboard.press("k")
    counter(one, 1, 1, 8)
    one.reload()  # still the same author
    counter(one, 1, 1, 8)
    one.keyboard.press("u")
    counter(one, 1, 0, 9)
    soon(one, lambda: len(ReviewLog(out).decisions()) == 3)  # the counter is ahead of the log
    other.keyboard.press("u")
    counter(one, 0, 0, 10)
    soon(
        one,
        lambda: (
            [line.decision for line in ReviewLog(out).decisions()] == ["reject", "keep", "undo", "undo"]
        ),
    )
    first, second, third, fourth = (line.author for line in ReviewLog(out).decisions())
    assert first == third != second == fourth


def test_a_key_held_down_is_one_decision(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, SMALL, sources=1)
    page = opened(tab, serve(out).address)
    for _ in range(4):
        page.keyboard.down("r")
    page.keyboard.up("r")
    page.keyboard.press("k")
    counter(page, 1, 1, 8)


def test_an_old_image_never_stands_beside_new_words(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    page = opened(tab, serve(drawn_set(tmp_path, SMALL, sources=1)).address)
    large = page.locator("#big-synthetic")

    def width() -> int:
        return int(large.evaluate("image => image.naturalWidth"))

    soon(page, lambda: width() > 0)
    before = large.screenshot()
    held: list[Route] = []
    page.route("**/images/*/large", lambda route: held.append(route))
    page.keyboard.press("ArrowRight")
    soon(page, lambda: len(held) == 1)
    assert large.screenshot() != before
    held[0].continue_()
    soon(page, lambda: width() > 0)


def test_strange_names_are_shown_as_text_and_do_no_harm(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, STRANGE, sources=1, copies=2)
    page = opened(tab, serve(out).address)
    for name in STRANGE:
        expect(page.locator("#list").get_by_text(name, exact=True)).to_be_visible()
    seen = set()
    for _ in range(6):
        seen.add(page.locator("#label").inner_text())
        assert page.locator("#prompt").inner_text().startswith("a photo of a ")
        page.keyboard.press("r")
    assert seen == set(STRANGE)
    counter(page, 0, 6, 0)
    assert page.locator("script").count() == 1
    assert not tab.faults
    assert all(address.startswith(page.url) for address in tab.requests)


def test_keys_move_and_filters_narrow(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, sources=2, copies=5)
    lines = [json.loads(line) for line in (out / "train/metadata.jsonl").read_text().splitlines()]
    page = opened(tab, serve(out).address)
    page.keyboard.press("End")
    last = selected(page)
    page.keyboard.press("ArrowRight")
    assert selected(page) == last
    page.keyboard.press("Home")
    first = selected(page)
    page.keyboard.press("ArrowDown")
    assert selected(page) not in (first, last)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert selected(page) == first
    lowest = min(line["source_clip_probability"] for line in lines)
    assert {line["request_id"]: line for line in lines}[first]["source_clip_probability"] == lowest

    note = page.locator("#filter-note")
    page.locator("[name=class]").select_option("tree")
    expect(note).to_contain_text("10 of 120 shown")
    shown = page.locator(".synthetic")
    expect(shown).to_have_count(10)
    page.locator("[name=scale-low]").fill("0.5")
    above = [line for line in lines if line["label"] == "tree" and line["ip_adapter_scale"] >= 0.5]
    expect(note).to_contain_text(f"{len(above)} of 120 shown")
    page.locator("[name=scale-low]").press("k")
    counter(page, 0, 0, 120)  # a letter in a field is no decision
    page.get_by_text("Show all").click()
    expect(note).to_be_empty()
    page.locator("[name=source-high]").fill("0.3")
    doubtful = sum(line["source_clip_probability"] <= 0.3 for line in lines)
    expect(note).to_contain_text(f"{doubtful} of 120 shown")
    page.locator("#reject").click()
    page.locator("[name=decision]").select_option("reject")
    expect(note).to_contain_text("1 of 120 shown")


def test_only_what_can_be_seen_is_in_the_page(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, ("car",), sources=60, copies=10, size=8)
    page = opened(tab, serve(out).address)
    assert page.locator(".synthetic").count() < 150
    page.keyboard.press("End")
    end = selected(page)
    expect(page.locator(".synthetic[aria-selected=true]")).to_be_in_viewport()
    assert page.locator(".synthetic").count() < 150
    page.locator("#list").evaluate("list => list.scrollTo(0, 0)")
    expect(page.locator(".synthetic").first).to_be_in_viewport()
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.keyboard.press("r")
    counter(page, 0, 1, 599)
    soon(page, lambda: {line.request_id for line in ReviewLog(out).decisions()} == {end})


def test_a_lost_source_leaves_the_rest(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, ("car",), sources=1, copies=2)
    next((tmp_path / "real").rglob("*.png")).unlink()
    page = opened(tab, serve(out).address)
    expect(page.locator("#big-source")).to_have_attribute("alt", re.compile("missing"))
    page.keyboard.press("k")
    counter(page, 1, 0, 1)


def test_the_review_page_has_no_serious_barrier(tab: Watched, serve: Serve, tmp_path: Path) -> None:
    page = opened(tab, serve(drawn_set(tmp_path, SMALL, sources=1, copies=3)).address)
    page.keyboard.press("k")
    page.keyboard.press("r")
    counter(page, 1, 1, 4)
    page.locator("#filter-box").evaluate("box => { box.open = true; }")
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert serious(page) == []
