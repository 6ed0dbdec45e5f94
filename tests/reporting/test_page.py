"""The page: everything on it is escaped, nothing in it loads or runs, and it is well formed."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reporting.test_answer import arms, result

from dalda.reporting.answer import arm_tables, class_tables, group_results
from dalda.reporting.image_set import ClassRows, ClipSection, ImageRow, SetSection, ShownImage
from dalda.reporting.page import Page, report_page
from dalda.reporting.plots import accuracy_rows
from dalda.reporting.svg import inline_svg
from dalda.reporting.thumbnails import SIDE, TINY, ThumbnailBudget, thumbnail
from dalda.types import Interval

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> ../../etc"
VOID = {"meta", "link", "img", "br", "rect"}


class Reader(HTMLParser):
    """Every element with its attributes, and what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def image(text: str = "a caption", scale: float | None = 0.25) -> ShownImage:
    return ShownImage(thumbnail(Image.new("RGB", (8, 8), "red")), text, scale, (f"note {text}",))


def page(text: str = "plain") -> Page:
    real = image(f"real {text}", None)
    chart = inline_svg(accuracy_rows({text: Interval(0.5, 0.4, 0.6)}, 0.5), "scales", text)
    section = SetSection(
        name=text,
        facts={"Model": text},
        classes=[ClassRows(text, 1, 5, [ImageRow(real, [image(text)], 4), ImageRow(None, [], 0)])],
        sampled=f"Shown: {text}",
        scales=(chart, text),
        clip=ClipSection(text, [image(text)], [image(text)], text, [(real, image(text))]),
        excluded={text: 3},
        captions={"Variety": text},
    )
    results = [*arms(real=0.5), *(result(text, seed, 0.8) for seed in range(3))]
    groups = group_results({"run": [replace(one, dataset=text) for one in results]})
    return Page(
        title=text,
        headline=f"The answer: {text}",
        sentences=(text,),
        warnings=(f"Warning: {text}",),
        arms=arm_tables(groups),
        facts={"Shots": text},
        classes=class_tables(groups),
        sets=(section,),
        other_sets=text,
    )


def test_what_strangers_wrote_is_shown_as_text() -> None:
    html = report_page(page(EVIL))
    reader = read(html)
    tags = {tag for tag, _ in reader.seen}
    assert not tags & {"script", "iframe", "object", "form"}
    assert EVIL in "".join(reader.words)
    assert [names for _, names in reader.seen if any(name.startswith("on") for name in names)] == []
    images = [names for tag, names in reader.seen if tag == "img"]
    assert all((names["src"] or "").startswith("data:image/webp;base64,") for names in images)
    assert EVIL in [names["alt"] for names in images]


def test_a_warning_comes_before_the_answer() -> None:
    words = read(report_page(page())).words
    assert words.index("Warning: plain") < words.index("The answer: plain")


def test_the_page_loads_and_runs_nothing() -> None:
    html = report_page(page())
    assert not re.search(r"https?://(?!www\.w3\.org)", html)
    assert not re.search(r"\bstyle=|javascript:|@import|url\((?!#)", html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert f"style-src 'sha256-{digest}'" in policy[1]
    assert "script-src" not in policy[1]


def test_ids_are_unique_and_every_reference_is_there() -> None:
    seen = read(report_page(page())).seen
    ids = [names["id"] for _, names in seen if "id" in names]
    assert len(ids) == len(set(ids))
    wanted = [names["aria-labelledby"] for _, names in seen if "aria-labelledby" in names]
    wanted += [(names["href"] or "")[1:] for tag, names in seen if tag in ("a", "use")]
    assert set(wanted) <= set(ids)


def test_the_answer_is_the_first_thing() -> None:
    words = " ".join(read(report_page(page())).words)
    body = words.partition("Skip to the images")[2]
    assert body.index("The answer: plain") < body.index("Accuracy") < body.index("What was run")


def test_every_heading_is_below_one_that_is_there() -> None:
    levels = [int(tag[1]) for tag, _ in read(report_page(page())).seen if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_a_page_without_trials_or_images_stands() -> None:
    html = report_page(Page("t", "h", ()))
    assert "Classes that gain" not in html
    read(html)


@pytest.mark.parametrize("size", [(300, 200), (20, 4000)])
def test_a_large_image_becomes_small(size: tuple[int, int]) -> None:
    made = thumbnail(Image.effect_noise(size, 60))
    assert max(made.width, made.height) == SIDE
    assert made.webp[8:12] == b"WEBP"
    assert not made.tiny


def test_a_tiny_image_stays_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (TINY, TINY, 3), np.uint8)
    made = thumbnail(Image.fromarray(noise))
    (tmp_path / "a.webp").write_bytes(made.webp)
    assert (np.asarray(Image.open(tmp_path / "a.webp")) == noise).all()
    assert made.tiny


def test_a_budget_gives_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((60, 60), 90).convert("RGB").save(path)
    size = len(thumbnail(Image.open(path)).webp)
    budget = ThumbnailBudget(2 * size + 1)
    assert len(budget.take([path]) or []) == 1
    assert budget.take([path, path]) is None
    assert budget.bytes == size + 1


@pytest.mark.parametrize("name", ["a\x1b[31mb", "\u202egnp", "\ud800"])
def test_marks_that_steer_a_display_are_replaced(name: str) -> None:
    html = report_page(page(name))
    assert not {"\x1b", "\u202e", "\ud800"} & set(html)
    assert "\ufffd" in html
    html.encode()
