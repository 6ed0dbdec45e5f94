"""The report's charts: what they say, that they take the page's colours, and that any name is harmless."""

import re
from functools import cache
from xml.etree import ElementTree

import pytest

from dalda.reporting.charts import (
    Band,
    accuracy_chart,
    gains_chart,
    shots_chart,
    weight_chart,
)
from dalda.types import Interval

ARMS = {"real": Interval(0.43, 0.35, 0.51), "dalda": Interval(0.574, 0.51, 0.638)}
GAINS = {"boat": Interval(0.2, 0.1, 0.3), "car": Interval(-0.05, None, None)}
BAND = Band((0.0, 0.3), (0.7, 0.7), (0.9, 0.84), (0.9, 0.9))
NAMES = ("accuracy", "gains", "shots", "weights")


@cache
def chart(name: str) -> str:
    if name == "accuracy":
        return accuracy_chart("one", ARMS, 0.1)
    if name == "gains":
        return gains_chart("two", "dalda", GAINS)
    if name == "shots":
        return shots_chart("three", {"real": {1: 0.2, 4: 0.4}, "_dalda": {1: 0.3, 4: 0.5}})
    return weight_chart("four", [(0.1, 0.8), (0.9, 0.2)], [BAND])


def text_of(svg: str) -> str:
    return " ".join("".join(one.itertext()) for one in ElementTree.fromstring(svg).iter("text"))


def test_each_arm_is_named_with_its_numbers() -> None:
    text = text_of(chart("accuracy"))
    assert all(said in text for said in ("real", "43.0 (35.0 to 51.0) %", "dalda", "57.4", "chance, 10 %"))


def test_the_axis_of_accuracy_is_whole() -> None:
    close = {"a": Interval(0.98, 0.975, 0.985), "b": Interval(0.99, 0.985, 0.995)}
    text = f" {text_of(accuracy_chart('x', close, 0.5))} "
    assert all(f" {tick} " in text for tick in (0, 20, 40, 60, 80, 100))


def test_each_arm_has_its_line_over_shots() -> None:
    text = text_of(chart("shots"))
    assert "real" in text
    assert "_dalda" in text


def test_each_class_is_named_with_its_gain() -> None:
    text = text_of(chart("gains"))
    assert all(said in text for said in ("boat", "+20.0 (+10.0 to +30.0)", "car", "-5.0"))


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_fits_the_pages_strict_policy(name: str) -> None:
    svg = chart(name)
    root = ElementTree.fromstring(svg)
    assert "style=" not in svg
    assert not list(root.iter("style"))
    assert not re.findall(r"#[0-9a-f]{6}\b", svg), "a colour that the page does not choose"
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
    assert accuracy_chart("one", ARMS, 0.1) == chart("accuracy")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$x^{", "花", "\ud800\x00\x07", "a" * 300])
def test_a_name_may_be_anything(name: str) -> None:
    arms = {name: Interval(0.5, 0.4, 0.6)}
    for svg in (
        accuracy_chart("x", arms, 0.1),
        gains_chart("x", name, arms),
        shots_chart("x", {name: {1: 0.1, 2: 0.2}}),
    ):
        root = ElementTree.fromstring(svg)
        assert not list(root.iter("script"))
        assert max(map(len, (text for one in root.iter("text") for text in one.itertext()))) < 60
