"""The figure: its text, its axis, its formats, and that nothing is overwritten."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalda.errors import UserError
from dalda.reporting.plots import accuracy_figure, accuracy_rows
from dalda.types import Interval

REAL = (Interval(0.41, 0.30, 0.52), (0.41, 0.36, 0.46))
DALDA = (Interval(0.76, 0.71, 0.81), (0.76, 0.78, 0.74))
ONE_SEED = (Interval(0.5, None, None), (0.5,))


def text_of(figure: Path) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", figure.read_text(encoding="utf-8")))


def test_every_arm_is_named_with_its_numbers(tmp_path: Path) -> None:
    figure = accuracy_figure(
        {"real": REAL, "dalda": DALDA}, tmp_path / "a.svg", title="A gain.", chance=0.125
    )
    text = text_of(figure)
    for words in ("A gain.", "real", "dalda", "41.0 (30.0 to 52.0)", "76.0 (71.0 to 81.0)", "chance, 12 %"):
        assert words in text


def test_the_axis_is_whole(tmp_path: Path) -> None:
    close = {
        "one": (Interval(0.981, 0.98, 0.982), (0.981,)),
        "two": (Interval(0.985, 0.984, 0.986), (0.985,)),
    }
    text = text_of(accuracy_figure(close, tmp_path / "a.svg"))
    assert all(f" {tick} " in f" {text} " for tick in (0, 20, 40, 60, 80, 100))


def test_zero_shot_is_a_line_through_all_arms(tmp_path: Path) -> None:
    arms = {"zero-shot": Interval(0.73, 0.72, 0.74), "real": REAL[0], "dalda": DALDA[0]}
    axes = accuracy_rows(arms, 0.1).axes[0]
    (line,) = (line for line in axes.lines if np.asarray(line.get_ydata()).tolist() == [0, 1])
    assert np.asarray(line.get_xdata()).tolist() == [73.0, 73.0]
    assert "dashed: zero-shot" in axes.get_xlabel()
    without = accuracy_rows({"real": REAL[0]}, 0.1).axes[0]
    assert "zero-shot" not in without.get_xlabel()
    assert len(without.lines) == 4


def test_a_single_seed_has_no_interval(tmp_path: Path) -> None:
    text = text_of(accuracy_figure({"real": ONE_SEED}, tmp_path / "a.svg"))
    assert " 50.0 " in text
    assert "a single seed has no" in text
    assert "inf" not in text


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_figure_has_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    arms = {"real": REAL, "dalda": DALDA}
    first = accuracy_figure(arms, tmp_path / f"a.{suffix}").read_bytes()
    assert accuracy_figure(arms, tmp_path / f"b.{suffix}").read_bytes() == first
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])


def test_more_arms_take_more_room(tmp_path: Path) -> None:
    few = accuracy_figure({"real": REAL}, tmp_path / "a.png")
    many = accuracy_figure({str(n): REAL for n in range(9)}, tmp_path / "b.png")
    with Image.open(few) as short, Image.open(many) as tall:
        assert tall.width == short.width == 800
        assert tall.height > short.height + 8 * 60


def test_names_are_text_and_never_formulas(tmp_path: Path) -> None:
    names = ["$\\frac{", "<script>", "狗", "a name much too long to stand above its line"]
    figure = accuracy_figure(dict.fromkeys(names, REAL), tmp_path / "a.svg", title="$\\x{ " * 60)
    written = figure.read_text(encoding="utf-8")
    assert "<script>" not in written
    assert "狗" in written
    assert "a name much too lo…" in written


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(UserError, match="not overwritten"):
        accuracy_figure({"real": REAL}, path)
    assert path.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["a.gif", "a"])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"\.png, \.svg, \.pdf"):
        accuracy_figure({"real": REAL}, tmp_path / name)
