"""The figure of a study: for each data set accuracy and gain over shots and gain per class; then scales.

That of a comparison has a row for each arm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dalda.errors import UserError
from dalda.reporting import plots
from dalda.reporting.text import shortened
from dalda.types import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

MOST_SCALES = 4
"""Arms whose scales are drawn."""


@dataclass(frozen=True)
class DatasetPanel:
    """What is drawn of one data set; a part that is empty is omitted."""

    title: str
    accuracy: plots.ArmIntervals
    gains: plots.ArmIntervals
    """Over real images alone, by shots."""
    class_gains: plots.ArmIntervals


@plots.styled()
def study_figure(
    panels: Sequence[DatasetPanel], scales: Mapping[str, Sequence[tuple[float, float]]]
) -> "Figure":
    """All parts below each other. Raises UserError where there is nothing to draw."""
    names = [name for panel in panels for name in (*panel.accuracy, *panel.gains, *panel.class_gains)]
    styles = plots.styles_of(dict.fromkeys([*names, *scales]))
    parts: list[tuple[float, Callable[[SubFigure], None]]] = []
    for panel in panels:
        if panel.accuracy or panel.gains:
            height = 3.2 + 0.2 * len(panel.accuracy or panel.gains) / 2
            parts.append((height, partial(_draw_shots, panel=panel, styles=styles)))
        if panel.class_gains:
            rows = plots.ordered_classes(panel.class_gains)
            height = 0.9 + (0.4 + 0.1 * len(panel.class_gains)) * len(rows)
            parts.append((height, partial(_draw_class_gains, panel=panel, styles=styles)))
    drawn = {arm: points for arm, points in scales.items() if points}
    if drawn:
        parts.append((3.0, partial(_draw_scales, scales=drawn, styles=styles)))
    if not parts:
        raise UserError("there is nothing to draw in these folders; run the study first")
    heights = [height for height, _ in parts]
    figure = plots.new_figure(sum(heights), columns=2)
    subfigures = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
    for subfigure, (_, draw) in zip(subfigures, parts, strict=True):
        draw(subfigure)
    return figure


@plots.styled()
def gains_figure(panel: DatasetPanel) -> "Figure":
    """A row for each arm, the one that gains most first, and in it a mark for each number of shots."""
    by_shots: dict[str, dict[str, Interval]] = {}
    for shots in sorted({key for arm in panel.gains.values() for key in arm}, key=plots.shots_order):
        gains = {name: arm[shots] for name, arm in panel.gains.items() if shots in arm}
        by_shots[f"{shots} shot{'s' * (shots != '1')}"] = gains
    rows, styles = plots.ordered_classes(by_shots), plots.styles_of(by_shots)
    figure = plots.new_figure(1.5 + (0.34 + 0.1 * len(by_shots)) * len(rows))
    figure.suptitle(shortened(f"{panel.title}: gain over real images alone", 60), x=0.01, ha="left")
    axes = figure.add_subplot()
    plots.draw_gain_rows(axes, rows, by_shots, styles)
    axes.set_xlabel("points gained (right) or lost (left); bar: 95 % interval over seeds")
    plots.add_legend(axes, styles)
    return figure


def _draw_shots(part: "SubFigure", panel: DatasetPanel, styles: plots.Styles) -> None:
    both = ((panel.accuracy, "accuracy, %"), (panel.gains, "gain over real images alone, points"))
    shown = [(arms, label) for arms, label in both if arms]
    _title(part, f"{panel.title} (mean over seeds; bar: 95 % interval)")
    for axes, (arms, label) in zip(part.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        plots.draw_shots(axes, arms, label, styles)
        if arms is panel.gains:
            axes.axhline(0, color=plots.INK, linewidth=1)


def _draw_class_gains(part: "SubFigure", panel: DatasetPanel, styles: plots.Styles) -> None:
    rows = plots.ordered_classes(panel.class_gains)
    every = len({name for arm in panel.class_gains.values() for name in arm})
    some = f", {len(rows)} of {every} classes" if len(rows) < every else ""
    _title(part, f"{panel.title}: gain per class over real images alone (mean over seeds and shots{some})")
    axes = part.subplots()
    plots.draw_gain_rows(axes, rows, panel.class_gains, styles)
    plots.add_legend(axes, {name: styles[name] for name in panel.class_gains})


def _draw_scales(
    part: "SubFigure", scales: Mapping[str, Sequence[tuple[float, float]]], styles: plots.Styles
) -> None:
    _title(part, "IP-Adapter scale, a dot per synthetic image")
    shown = list(scales.items())[:MOST_SCALES]
    for axes, (arm, points) in zip(part.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        plots.draw_scales(axes, points, (), styles[arm]["color"])
        axes.set_title(shortened(arm, 28))


def _title(part: "SubFigure", text: str) -> None:
    part.suptitle(shortened(text, 110), x=0.01, ha="left")
