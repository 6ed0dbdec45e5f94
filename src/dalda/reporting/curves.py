"""The figure of a study: accuracy and gain over shots, gain per class, lambda against the score.

Arms are told apart by colour (Okabe and Ito's, in an order of rising lightness), marker and line, so that
the figure reads in grey and for colour-blind eyes; each has its name beside its line.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.errors import UserError
from dalda.reporting.plots import FAINT, FORMATS, INK, SOFT, TITLE_WIDTH, _rendered, _shortened
from dalda.storage import write_new
from dalda.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

STYLES = [
    {"color": "#000000", "marker": "o", "linestyle": "-"},
    {"color": "#0072B2", "marker": "s", "linestyle": "--"},
    {"color": "#D55E00", "marker": "^", "linestyle": "-."},
    {"color": "#009E73", "marker": "D", "linestyle": ":"},
    {"color": "#CC79A7", "marker": "v", "linestyle": "--"},
    {"color": "#E69F00", "marker": "P", "linestyle": "-."},
    {"color": "#56B4E9", "marker": "X", "linestyle": ":"},
]
MOST_CLASSES = 24
MOST_CLOUDS = 4


Lines = Mapping[str, Mapping[str, Interval]]
"""Arm to shots to the mean over seeds."""


@dataclass(frozen=True)
class StudyFigure:
    """What can be drawn of some runs; a part that is empty is left out."""

    accuracy: Lines
    gain: Lines
    """Over the real arm, paired by seed."""
    real: str
    classes: Mapping[str, Mapping[str, float]]
    """Arm to class to its mean gain over the real arm."""
    clouds: Mapping[str, Sequence[tuple[float, float]]]
    """Arm to (CLIP class probability, lambda) of each synthetic image."""
    title: str = ""


def study_figure(found: StudyFigure, path: Path) -> Path:
    """Draws all parts that there are. Raises UserError for another suffix, and where there is nothing."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"the figure '{path}' must end in {', '.join(FORMATS)}")
    classes = _shown(found.classes)
    parts = [
        (2.0 + 1.6, bool(found.accuracy or found.gain), _draw_shots),
        (1.1 + 0.24 * len(classes), bool(classes), _draw_classes),
        (2.9, any(found.clouds.values()), _draw_clouds),
    ]
    wanted = [(height, draw) for height, there, draw in parts if there]
    if not wanted:
        raise UserError("there is nothing to draw in these folders; run the study first")
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heading = textwrap.wrap(found.title, TITLE_WIDTH)
    heights = [height for height, _ in wanted]
    figure = Figure(
        figsize=(9, sum(heights) + 0.3 * len(heading)),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    rows = figure.subfigures(len(wanted), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, (_, draw) in zip(rows, wanted, strict=True):
        draw(row, found)
    if heading:
        figure.suptitle("\n".join(heading), x=0.01, ha="left", fontsize=12, color=INK, parse_math=False)
    write_new(path, _rendered(figure, path.suffix.lower()))
    return path


def styles_of(found: StudyFigure) -> dict[str, dict[str, Any]]:
    """The same look for an arm in every part."""
    names = list(dict.fromkeys([*found.accuracy, *found.gain, *found.classes, *found.clouds]))
    return {name: STYLES[number % len(STYLES)] for number, name in enumerate(names)}


def _draw_shots(figure: "SubFigure", found: StudyFigure) -> None:
    parts = [(found.accuracy, "accuracy (%)"), (found.gain, f"gain over {_shortened(found.real)} (points)")]
    wanted = [(lines, said) for lines, said in parts if lines]
    styles = styles_of(found)
    for axes, (lines, said) in zip(figure.subplots(1, len(wanted), squeeze=False)[0], wanted, strict=True):
        _draw_lines(axes, lines, styles)
        axes.set_title(said, loc="left", fontsize=10, color=INK, parse_math=False)
        axes.set_xlabel("real images per class", fontsize=9, color=SOFT, loc="left")
        if lines is found.gain:
            axes.axhline(0, color=SOFT, linewidth=1)
    figure.supxlabel(
        "mean over seeds; bar: 95 % interval; the axes begin where the values do",
        x=0.01,
        ha="left",
        fontsize=8,
        color=SOFT,
    )


def _draw_lines(axes: "Axes", lines: Lines, styles: Mapping[str, Mapping[str, Any]]) -> None:
    shots = sorted({key for line in lines.values() for key in line}, key=_order)
    ends = {}
    for number, (name, line) in enumerate(lines.items()):
        # Side by side, so that no bar hides another.
        shift = 0.09 * (number - (len(lines) - 1) / 2)
        places = [shots.index(key) + shift for key in sorted(line, key=_order)]
        points = [line[key] for key in sorted(line, key=_order)]
        means = [100 * point.mean for point in points]
        axes.plot(places, means, **styles[name], markersize=6, linewidth=1.6, markeredgecolor="white")
        for place, point in zip(places, points, strict=True):
            if point.low is not None and point.high is not None:
                span = [100 * point.low, 100 * point.high]
                axes.plot([place, place], span, color=styles[name]["color"], linewidth=1, alpha=0.6)
        ends[name] = means[-1]
    axes.set_xticks(range(len(shots)), shots, fontsize=9)
    axes.set_xlim(-0.4, len(shots) - 1 + 0.4)
    _tidy(axes, "y")
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    beside = axes.get_yaxis_transform()
    places = _spread(list(ends.values()), 0.075 * (high - low))
    for name, place in zip(ends, places, strict=True):
        style = {key: styles[name][key] for key in ("color", "marker")}
        axes.plot([1.04], [place], **style, markersize=6, transform=beside, clip_on=False)
        axes.annotate(
            _shortened(name),
            (1.07, place),
            xycoords=beside,
            va="center",
            fontsize=9,
            color=INK,
            parse_math=False,
            annotation_clip=False,
        )
    axes.set_ylim(low, high)


def _order(shots: str) -> tuple[int, int]:
    return (1, 0) if shots == "all" else (0, int(shots))


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """The values, moved apart to at least `gap`, in their order; none is moved far."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    placed = [values[index] for index in order]
    for _ in range(100):
        for one in range(len(placed) - 1):
            short = gap - (placed[one + 1] - placed[one])
            if short > 1e-9:
                placed[one] -= short / 2
                placed[one + 1] += short / 2
    spread = [0.0] * len(values)
    for index, value in zip(order, placed, strict=True):
        spread[index] = value
    return spread


def _shown(classes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The classes by rising mean gain; of many, those that lose and those that gain most."""
    means: dict[str, list[float]] = {}
    for found in classes.values():
        for name, value in found.items():
            if math.isfinite(value):
                means.setdefault(name, []).append(value)
    order = sorted(means, key=lambda name: (sum(means[name]) / len(means[name]), name))
    half = MOST_CLASSES // 2
    return order if len(order) <= MOST_CLASSES else order[:half] + order[-half:]


def _draw_classes(figure: "SubFigure", found: StudyFigure) -> None:
    axes = figure.subplots()
    styles, shown = styles_of(found), _shown(found.classes)
    arms = list(found.classes.items())
    for number, (name, values) in enumerate(arms):
        shift = 0.18 * ((len(arms) - 1) / 2 - number)
        there = [(place, 100 * values[label]) for place, label in enumerate(shown) if label in values]
        axes.plot(
            [value for _, value in there],
            [place + shift for place, _ in there],
            linestyle="none",
            marker=styles[name]["marker"],
            color=styles[name]["color"],
            markersize=6.5,
            markeredgecolor="white",
            label=_escaped(_shortened(name)),
        )
    for place in range(0, len(shown), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
    axes.axvline(0, color=SOFT, linewidth=1)
    axes.set_yticks(range(len(shown)), [_shortened(name) for name in shown], fontsize=9, parse_math=False)
    axes.set_ylim(-0.5, len(shown) - 0.5)
    _tidy(axes, "x")
    every = len({name for values in found.classes.values() for name in values})
    some = "" if every == len(shown) else f"; of {every} classes the {MOST_CLASSES} at the ends"
    said = f"gain per class over {_shortened(found.real)} (points, mean over seeds and shots{some})"
    axes.set_title(said, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, handletextpad=0.2)


def _draw_clouds(figure: "SubFigure", found: StudyFigure) -> None:
    clouds = [(name, points) for name, points in found.clouds.items() if points][:MOST_CLOUDS]
    styles = styles_of(found)
    row = figure.subplots(1, len(clouds), squeeze=False, sharey=True)[0]
    for axes, (name, points) in zip(row, clouds, strict=True):
        scores, weights = zip(*points, strict=True)
        axes.plot(
            scores,
            weights,
            linestyle="none",
            marker=styles[name]["marker"],
            color=styles[name]["color"],
            markersize=3.5,
            alpha=0.45,
            markeredgewidth=0,
            rasterized=len(points) > 2000,
        )
        axes.axvline(0.3, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_title(_shortened(name), loc="left", fontsize=9, color=INK, parse_math=False)
        axes.set_xlabel("CLIP class probability of the real image", fontsize=9, color=SOFT, loc="left")
        _tidy(axes, "both")
    row[0].set_ylabel("λ, the image's weight", fontsize=9, color=SOFT)
    figure.supxlabel(
        "each mark is a synthetic image; left of the dotted line (0.3) the image is trusted more",
        x=0.01,
        ha="left",
        fontsize=8,
        color=SOFT,
    )


def _escaped(name: str) -> str:
    """For a legend, which alone has no switch for formulas, and leaves out names that begin with _."""
    return " " * name.startswith("_") + name.replace("$", r"\$")


def _tidy(axes: "Axes", grid: Any) -> None:
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=9, length=0)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
