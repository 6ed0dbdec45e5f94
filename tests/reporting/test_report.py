"""The page: everything on it is escaped, nothing in it loads or runs, and it is well formed."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalda.reporting.charts import accuracy_chart, gains_chart
from dalda.reporting.report import (
    SIDE,
    TINY,
    ArmLine,
    ArmTable,
    Budget,
    ClassRows,
    ClassTable,
    Page,
    Pair,
    Row,
    SetPart,
    Shown,
    report_page,
    thumbnail,
)
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


def image(text: str = "a caption", weight: float | None = 0.25) -> Shown:
    return Shown(thumbnail(Image.new("RGB", (8, 8), "red")), text, weight, (f"note {text}",))


def page(text: str = "plain") -> Page:
    estimate = Interval(0.5, 0.4, 0.6)
    real = image(f"real {text}", None)
    part = SetPart(
        name=text,
        facts={"Model": text},
        classes=(ClassRows(text, 1, 5, (Row(real, (image(text),), 4), Row(None, (), 0))),),
        sampled=f"Shown: {text}",
        weights=accuracy_chart("w", {text: estimate}, 0.5),
        weights_say=text,
        typical=(image(text),),
        doubtful=(image(text),),
        doubtful_say=text,
        near=(Pair(real, image(text)),),
        near_say=text,
        dropped={text: 3},
        captions={"Variety": text},
    )
    line = ArmLine(text, estimate, estimate, "gained", 2, 20, 3)
    return Page(
        title=text,
        headline=f"The answer: {text}",
        sentences=(text,),
        arms=(ArmTable(text, (line,), accuracy_chart("a", {text: estimate}, 0.5)),),
        facts={"Shots": text},
        classes=(
            ClassTable(
                text,
                (text,),
                ((text, estimate, (estimate, None)),),
                ((text, gains_chart("g", text, {text: estimate})),),
            ),
        ),
        sets=(part,),
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
    budget = Budget(4000, lambda path: Image.effect_noise((60, 60), 90).convert("RGB"))
    first = budget.take([tmp_path])
    assert first
    assert budget.bytes == 4000 - len(first[0].webp)
    assert budget.take([tmp_path, tmp_path]) is None
    assert budget.bytes == 4000 - len(first[0].webp)
