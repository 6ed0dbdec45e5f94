"""The figure of a study: what it says, what it leaves out, and that it does not move."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.reporting.curves import STYLES, StudyFigure, _spread, study_figure
from dalda.types import Interval

ARMS = ("real", "base, random", "$x_{", "_hidden")


def figure_of(arms: tuple[str, ...] = ARMS, classes: int = 3) -> StudyFigure:
    accuracy = {arm: {"1": Interval(0.5, 0.4, 0.6), "16": Interval(0.7, None, None)} for arm in arms}
    gain = {arm: {"1": Interval(0.1, -0.1, 0.3)} for arm in arms[1:]}
    gains = {arm: {f"class {number}": number / 100 for number in range(classes)} for arm in arms[1:]}
    return StudyFigure(accuracy, gain, "real", gains, {arms[1]: [(0.2, 0.8), (0.9, 0.1)]}, "pets <b>")


def text_of(figure: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", figure.read_text(encoding="utf-8")))


def test_every_arm_and_part_is_named(tmp_path: Path) -> None:
    text = text_of(study_figure(figure_of(), tmp_path / "a.svg"))
    for said in (
        *ARMS,
        "accuracy (%)",
        "gain over real (points)",
        "class 2",
        "CLIP class probability",
        "pets &lt;b&gt;",
    ):
        assert said in text
    assert "inf" not in text


def test_of_many_classes_the_ends_are_shown(tmp_path: Path) -> None:
    text = text_of(study_figure(figure_of(classes=101), tmp_path / "a.svg"))
    assert "of 101 classes the 24 at the ends" in text
    assert ("class 0 " in text, "class 50 " in text, "class 100 " in text) == (True, False, True)


def test_parts_that_are_empty_are_left_out(tmp_path: Path) -> None:
    only = StudyFigure({"real": {"1": Interval(0.5, 0.4, 0.6)}}, {}, "", {}, {})
    text = text_of(study_figure(only, tmp_path / "a.svg"))
    assert "accuracy (%)" in text
    assert "gain" not in text
    assert "CLIP" not in text
    with pytest.raises(UserError, match="nothing to draw"):
        study_figure(StudyFigure({}, {}, "", {}, {}), tmp_path / "b.svg")


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_same_figure_has_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first = study_figure(figure_of(), tmp_path / f"a.{suffix}").read_bytes()
    assert study_figure(figure_of(), tmp_path / f"b.{suffix}").read_bytes() == first
    with pytest.raises(UserError, match="must end in"):
        study_figure(figure_of(), tmp_path / "a.gif")


def test_arms_differ_in_marker_and_rise_in_lightness() -> None:
    assert len({style["marker"] for style in STYLES}) == len(STYLES)
    weights = (0.2126, 0.7152, 0.0722)
    levels = [
        sum(
            part * int(style["color"][at : at + 2], 16) for part, at in zip(weights, (1, 3, 5), strict=True)
        )
        for style in STYLES
    ]
    assert all(after > before for before, after in pairwise(levels))


def test_labels_are_moved_apart_in_their_order() -> None:
    placed = _spread([5.0, 5.1, 5.05, 9.0], 1.0)
    assert sorted(range(4), key=lambda index: placed[index]) == [0, 2, 1, 3]
    ordered = sorted(placed)
    assert all(after - before >= 0.99 for before, after in pairwise(ordered))
