"""Figures inside the page: they take the page's colours, and any name in them is harmless."""

import re
from functools import cache
from xml.etree import ElementTree

import pytest

from dalda.reporting.page import TEMPLATES
from dalda.reporting.plots import ScaleBounds, accuracy_rows, gain_rows, scales_figure, shots_figure
from dalda.reporting.svg import inline_svg
from dalda.types import Interval

ARMS = {"real": Interval(0.43, 0.35, 0.51), "dalda": Interval(0.574, 0.51, 0.638)}
GAINS = {"car": Interval(-0.05, None, None), "boat": Interval(0.2, 0.1, 0.3)}
BOUNDS = ScaleBounds((0.0, 0.3), (0.7, 0.7), (0.9, 0.84), (0.9, 0.9))
NAMES = ("accuracy", "gains", "shots", "scales")


@cache
def chart(name: str) -> str:
    figure = {
        "accuracy": lambda: accuracy_rows(ARMS, 0.1),
        "gains": lambda: gain_rows(GAINS),
        "shots": lambda: shots_figure({"real": {"1": ARMS["real"]}, "_dalda": {"4": ARMS["real"]}}),
        "scales": lambda: scales_figure([(0.1, 0.8), (0.9, 0.2)], [BOUNDS]),
    }[name]()
    return inline_svg(figure, name, f"{name} described")


def text_of(svg: str) -> str:
    return " ".join("".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("text"))


def test_each_arm_is_named_with_its_numbers() -> None:
    text = text_of(chart("accuracy"))
    assert all(words in text for words in ("real", "43.0 (35.0 to 51.0)", "dalda", "57.4", "chance, 10 %"))


def test_the_axis_of_accuracy_is_whole() -> None:
    close = {"a": Interval(0.98, 0.975, 0.985), "b": Interval(0.99, 0.985, 0.995)}
    text = f" {text_of(inline_svg(accuracy_rows(close, 0.5), 'x', ''))} "
    assert all(f" {tick} " in text for tick in (0, 20, 40, 60, 80, 100))


def test_each_arm_has_its_line_over_shots() -> None:
    text = text_of(chart("shots"))
    assert "real" in text
    assert "_dalda" in text


def test_each_class_is_named_with_its_gain() -> None:
    text = text_of(chart("gains"))
    assert all(words in text for words in ("boat", "+20.0 (+10.0 to +30.0)", "car", "-5.0"))


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_fits_the_pages_strict_policy(name: str) -> None:
    svg = chart(name)
    root = ElementTree.fromstring(svg)
    assert "style=" not in svg
    assert not list(root.iter("style"))
    assert not re.findall(r"#[0-9a-f]{6}\b", svg), "a colour that the page does not choose"
    style = (TEMPLATES / "report.css").read_text()
    classes = {word for words in re.findall(r'class="([^"]+)"', svg) for word in words.split()}
    assert not [word for word in classes - {"chart"} if f".{word} " not in style]
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "width" not in root.attrib
    assert not re.search(r">\s+<", svg)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_chart_refers_to_is_in_it(name: str) -> None:
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', chart(name)))
    ids = re.findall(r'\bid="([^"]+)"', chart(name))
    assert used == set(ids)
    assert len(ids) == len(set(ids))


def test_two_charts_share_no_id() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', chart(name))) for name in NAMES]
    assert sum(map(len, ids)) == len(set().union(*ids))
    assert any(ids)


def test_the_same_chart_has_the_same_bytes() -> None:
    assert inline_svg(accuracy_rows(ARMS, 0.1), "accuracy", "accuracy described") == chart("accuracy")


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$x^{", "花", "\ud800\x00\x07", "\u202egnp", "a" * 300]
)
def test_a_name_may_be_anything(name: str) -> None:
    arm = Interval(0.5, 0.4, 0.6)
    figures = accuracy_rows({name: arm}, 0.1), gain_rows({name: arm}), shots_figure({name: {"1": arm}})
    for svg in (inline_svg(figure, "x", name) for figure in figures):
        root = ElementTree.fromstring(svg)
        assert not list(root.iter("script"))
        texts = [text for one in root.iter("text") for text in one.itertext()]
        assert max(map(len, texts)) < 60
        assert "\u202e" not in svg
