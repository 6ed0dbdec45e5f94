"""The figure of a study: what it says, what it leaves out, and that it does not move."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dalda.errors import UserError
from dalda.reporting.plots import ARM_STYLES, save_figure
from dalda.reporting.study_figure import DatasetPanel, gains_figure, study_figure
from dalda.types import Interval

ARMS = ("real", "base, random", "$x_{", "_hidden")


def panel(classes: int = 3, title: str = "pets <b>") -> DatasetPanel:
    accuracy = {arm: {"1": Interval(0.5, 0.4, 0.6), "16": Interval(0.7, None, None)} for arm in ARMS}
    gains = {arm: {"1": Interval(0.1, -0.1, 0.3)} for arm in ARMS[1:]}
    by_class = {
        arm: {f"class {number}": Interval(number / 100, None, None) for number in range(classes)}
        for arm in ARMS[1:]
    }
    return DatasetPanel(title, accuracy, gains, by_class)


def drawn(path: Path, *panels: DatasetPanel, **scales: list[tuple[float, float]]) -> str:
    written = save_figure(study_figure(panels, scales), path).read_text(encoding="utf-8")
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", written))


def test_every_arm_and_part_is_named(tmp_path: Path) -> None:
    text = drawn(tmp_path / "a.svg", panel(), dalda=[(0.2, 0.8), (0.9, 0.1)])
    for words in (
        *ARMS,
        "accuracy, %",
        "gain over real images alone, points",
        "class 2",
        "CLIP class probability of the source image",
        "pets &lt;b&gt;",
    ):
        assert words in text
    assert "inf" not in text


def test_each_data_set_has_panels_of_its_own(tmp_path: Path) -> None:
    text = drawn(tmp_path / "a.svg", panel(title="pets"), panel(title="flowers"))
    assert text.count("gain per class over real images alone") == 2
    assert "pets (mean" in text
    assert "flowers (mean" in text


def test_of_many_classes_the_ends_are_shown(tmp_path: Path) -> None:
    text = f"{drawn(tmp_path / 'a.svg', panel(classes=101))} "
    assert "24 of 101 classes" in text
    assert ("class 0 " in text, "class 50 " in text, "class 100 " in text) == (True, False, True)


def test_parts_that_are_empty_are_left_out(tmp_path: Path) -> None:
    only = DatasetPanel("pets", {"real": {"1": Interval(0.5, 0.4, 0.6)}}, {}, {})
    text = drawn(tmp_path / "a.svg", only)
    assert "accuracy, %" in text
    assert "gain" not in text
    assert "CLIP" not in text
    with pytest.raises(UserError, match="nothing to draw"):
        study_figure([DatasetPanel("pets", {}, {}, {})], {"dalda": []})


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_same_figure_has_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first = save_figure(study_figure([panel()], {}), tmp_path / f"a.{suffix}").read_bytes()
    assert save_figure(study_figure([panel()], {}), tmp_path / f"b.{suffix}").read_bytes() == first
    with pytest.raises(UserError, match="must end in"):
        save_figure(study_figure([panel()], {}), tmp_path / "a.gif")


def test_arms_differ_in_marker_and_rise_in_lightness() -> None:
    assert len({style["marker"] for style in ARM_STYLES}) == len(ARM_STYLES)
    weights = (0.2126, 0.7152, 0.0722)
    levels = [
        sum(
            part * int(style["color"][at : at + 2], 16) for part, at in zip(weights, (1, 3, 5), strict=True)
        )
        for style in ARM_STYLES
    ]
    assert all(after > before for before, after in pairwise(levels))


def test_many_arms_stay_within_the_axes() -> None:
    from dalda.reporting.plots import draw_shots, new_figure, styles_of

    arms = {f"arm {number}": {"2": Interval(0.5, 0.4, 0.6)} for number in range(16)}
    axes = new_figure(3.0).add_subplot()
    draw_shots(axes, arms, "accuracy, %", styles_of(arms))
    low, high = axes.get_xlim()
    across = [float(line.get_xdata()[0]) for line in axes.get_lines()]  # type: ignore[index, arg-type]
    assert len(set(across)) == 16
    assert low < min(across)
    assert max(across) < high


def test_a_comparison_has_a_row_for_each_arm_and_a_mark_for_each_number_of_shots(tmp_path: Path) -> None:
    gains = {
        "worse": {"8": Interval(-0.02, -0.05, 0.01), "1": Interval(-0.01, None, None)},
        "better": {"1": Interval(0.04, 0.01, 0.07), "8": Interval(0.05, 0.02, 0.08)},
        "only at 8": {"8": Interval(0.01, -0.02, 0.04)},
    }
    figure = gains_figure(DatasetPanel("pets, 3 seeds", {}, gains, {}))
    text = save_figure(figure, tmp_path / "a.svg").read_text(encoding="utf-8")
    order = [text.index(f">{words}<") for words in ("better", "only at 8", "worse")]
    assert order == sorted(order)
    assert text.index(">1 shot<") < text.index(">8 shots<")
    (axes,) = figure.axes
    drawn = [np.asarray(line.get_xdata()) for line in axes.lines if line.get_markersize() == 7]
    assert sorted(round(float(across[0]), 1) for across in drawn if len(across) == 1) == [-2, -1, 1, 4, 5]
