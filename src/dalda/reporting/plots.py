"""All figures: accuracy per arm, accuracy and gain over shots, gain per class, IP-Adapter scales.

Arms differ in colour (Okabe and Ito's, in an order of rising lightness), marker and line style, so that a
figure reads in grey and for colour-blind eyes. The same functions draw for files and for the report.
"""

import io
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.errors import UserError
from dalda.reporting.text import harmless, shortened
from dalda.storage import write_new
from dalda.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
INK, SOFT, FAINT, PAPER = "#1a1a1a", "#6b6b6b", "#cfcfcf", "#ffffff"
ACCENT = "#0072b2"
STYLES = [
    {"color": INK, "marker": "o", "linestyle": "-"},
    {"color": ACCENT, "marker": "s", "linestyle": "--"},
    {"color": "#d55e00", "marker": "^", "linestyle": "-."},
    {"color": "#009e73", "marker": "D", "linestyle": ":"},
    {"color": "#cc79a7", "marker": "v", "linestyle": "--"},
    {"color": "#e69f00", "marker": "P", "linestyle": "-."},
    {"color": "#56b4e9", "marker": "X", "linestyle": ":"},
]
ONE_ARM = {"color": ACCENT, "marker": "D"}
WIDTH = 5.0
"""Inches of one column: 360 points, so that on a telephone a point is about a pixel."""
TEXT, SMALL = 11, 10
ROW_LETTERS, LEGEND_LETTERS, LETTERS_PER_INCH = 38, 19, 11
MOST_CLASSES = 24
"""Classes in a figure; of more, those that lose and those that gain most."""
MOST_DOTS = 2000
TICK_DOWN = 3
"""matplotlib's number for a short line downwards."""
ArmIntervals = Mapping[str, Mapping[str, Interval]]
"""Arm to shots, or to class, to a share or a gain with its interval."""
Styles = Mapping[str, Mapping[str, Any]]
"""Arm to its colour, marker and line style, the same in all parts of a figure."""


@dataclass(frozen=True)
class ScaleBounds:
    """The bounds and the mean of the adaptive IP-Adapter scale, over rising CLIP class probabilities."""

    probabilities: Sequence[float]
    low: Sequence[float]
    mean: Sequence[float]
    high: Sequence[float]


def new_figure(height: float, columns: int = 1) -> "Figure":
    """An empty figure of one column or more, `height` inches high."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(WIDTH * columns, height), layout=layout)


def accuracy_rows(arms: Mapping[str, Interval], chance: float) -> "Figure":
    """One row per arm; the axis runs from 0 to 100 %."""
    figure = new_figure(0.62 + 0.62 * len(arms))
    axes = figure.add_subplot()
    draw_rows(axes, list(arms), {"": arms}, (0, 100), "", {"": ONE_ARM})
    axes.plot([100 * chance] * len(arms), range(len(arms)), linestyle="", marker=TICK_DOWN, color=SOFT)
    _label(axes, f"accuracy, % (tick under each line: chance, {100 * chance:.0f} %)", "")
    return figure


def accuracy_figure(
    arms: Mapping[str, tuple[Interval, Sequence[float]]], path: Path, *, title: str = "", chance: float = 0
) -> Path:
    """Writes accuracy per arm with its interval, and the single seeds as circles.

    The suffix of `path` decides the format. Raises UserError for another suffix, for no arms, and when a
    different file exists.
    """
    if not arms:
        raise UserError("there is no arm to draw; train one first")
    figure = accuracy_rows({arm: interval for arm, (interval, _) in arms.items()}, chance)
    for row, (_, seeds) in enumerate(arms.values()):
        below = [row + 0.17] * len(seeds)
        percent = [100 * value for value in seeds]
        figure.axes[0].plot(percent, below, "o", color=INK, markerfacecolor=PAPER, markersize=4)
    known = all(interval.low is not None for interval, _ in arms.values())
    note = "" if known else " (a single seed has no interval)"
    return save_figure(figure, path, f"{title}\nbar: 95 % interval over seeds, circles: single seeds{note}")


def gain_rows(gains: Mapping[str, Interval]) -> "Figure":
    """One arm's gain per class, a row each, the class that gains most first."""
    arms = {"": gains}
    rows = ordered_classes(arms)
    figure = new_figure(0.62 + 0.5 * len(rows))
    draw_gain_rows(figure.add_subplot(), rows, arms, {"": ONE_ARM})
    return figure


def draw_gain_rows(axes: "Axes", rows: Sequence[str], gains: ArmIntervals, styles: Styles) -> None:
    """The gain of each class in points, for all arms, on an axis with 0 in the middle."""
    ends = [abs(end) for arm in gains.values() for row in rows if row in arm for end in _ends(arm[row])]
    span = min(100.0, 5 + 100 * max(ends, default=0.0))
    axes.axvline(0, color=SOFT, linewidth=1)
    draw_rows(axes, rows, gains, (-span, span), "+", styles)
    _label(axes, "points gained (right) or lost (left)", "")


def ordered_classes(gains: ArmIntervals) -> list[str]:
    """Classes by falling mean gain over the arms; of many, those at both ends."""
    means: dict[str, list[float]] = {}
    for arm in gains.values():
        for name, gain in arm.items():
            means.setdefault(name, []).append(gain.mean)
    order = sorted(means, key=lambda name: (-sum(means[name]) / len(means[name]), name))
    half = MOST_CLASSES // 2
    return order if len(order) <= MOST_CLASSES else order[:half] + order[-half:]


def draw_rows(
    axes: "Axes",
    rows: Sequence[str],
    arms: ArmIntervals,
    limits: tuple[float, float],
    sign: str,
    styles: Styles,
) -> None:
    """A line per row with its name above, and a mark with its interval per arm; shares as percent.

    The numbers of a single arm are on the right.
    """
    for row, name in enumerate(rows):
        axes.plot(limits, [row, row], color=FAINT, linewidth=1)
        for number, arm in enumerate(arm for arm in arms if name in arms[arm]):
            _draw_mark(axes, row + 0.1 * number, arms[arm][name], limits, styles[arm])
        numbers = "".join(arm[name].text(sign) for arm in arms.values() if name in arm and len(arms) == 1)
        _annotate(axes, row, shortened(name, ROW_LETTERS - len(numbers)), 0.0, "left")
        _annotate(axes, row, numbers, 1.0, "right")
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.7 + 0.1 * len(arms), -0.6)
    axes.set_yticks([])


def _draw_mark(
    axes: "Axes", place: float, interval: Interval, limits: tuple[float, float], style: Mapping[str, Any]
) -> None:
    color, marker = style["color"], style["marker"]
    if interval.low is not None and interval.high is not None:
        ends = [min(limits[1], max(limits[0], 100 * end)) for end in (interval.low, interval.high)]
        axes.plot(ends, [place] * 2, color=color, linewidth=5, alpha=0.35, solid_capstyle="butt")
    mark = {"color": color, "marker": marker, "markersize": 7, "markeredgecolor": PAPER}
    axes.plot([100 * interval.mean], [place], **mark, clip_on=False)


def shots_figure(accuracy: ArmIntervals) -> "Figure":
    """Accuracy over shots, a line per arm; the axis runs from 0 to 100 %."""
    figure = new_figure(3.4 + 0.2 * ((len(accuracy) + 1) // 2))
    axes = figure.add_subplot()
    draw_shots(axes, accuracy, "accuracy, %", styles_of(accuracy))
    axes.set_ylim(0, 100)
    return figure


def draw_shots(axes: "Axes", arms: ArmIntervals, label: str, styles: Styles) -> None:
    """A line per arm over the numbers of shots, with intervals side by side."""
    shots = sorted({key for arm in arms.values() for key in arm}, key=shots_order)
    for number, (name, arm) in enumerate(arms.items()):
        values, style = [(key, arm[key]) for key in sorted(arm, key=shots_order)], styles[name]
        shift = 0.06 * (number - (len(arms) - 1) / 2)
        places = [shots.index(key) + shift for key, _ in values]
        axes.plot(places, [100 * interval.mean for _, interval in values], **style, markersize=6)
        for place, (_, interval) in zip(places, values, strict=True):
            if interval.low is not None and interval.high is not None:
                span = [100 * interval.low, 100 * interval.high]
                axes.plot([place, place], span, color=style["color"], linewidth=1, alpha=0.6)
    axes.set_xticks(range(len(shots)), shots)
    axes.set_xlim(-0.4, len(shots) - 0.6)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    _label(axes, "shots (real images per class)", label)
    add_legend(axes, {name: styles[name] for name in arms})


def shots_order(shots: str) -> float:
    """Sorts numbers of shots, with `all` last."""
    return float("inf") if shots == "all" else float(shots)


def scales_figure(points: Sequence[tuple[float, float]], bounds: Sequence[ScaleBounds] = ()) -> "Figure":
    """The IP-Adapter scale over the source image's CLIP class probability, a dot per synthetic image."""
    figure = new_figure(3.2)
    draw_scales(figure.add_subplot(), points, bounds, ACCENT)
    return figure


def draw_scales(
    axes: "Axes", points: Sequence[tuple[float, float]], bounds: Sequence[ScaleBounds], color: str
) -> None:
    """Dots over the bounds that the scales were drawn within."""
    for part in bounds:
        axes.fill_between(part.probabilities, part.low, part.high, color=FAINT, alpha=0.5, linewidth=0)
        axes.plot(part.probabilities, part.mean, color=SOFT, linewidth=1.2, linestyle="--")
    chosen = points[:: -(-len(points) // MOST_DOTS)]
    across, up = zip(*chosen, strict=True)
    axes.scatter(across, up, s=14, color=color, alpha=0.55, linewidths=0, clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    _label(axes, "CLIP class probability of the source image", "IP-Adapter scale")


def save_figure(figure: "Figure", path: Path, heading: str = "") -> Path:
    """Writes a new PNG, SVG or PDF file, the same bytes for the same figure."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"the figure '{path}' must end in {', '.join(FORMATS)}")
    width, height = figure.get_size_inches()
    letters = int(LETTERS_PER_INCH * width)
    lines = [part for line in heading.splitlines() for part in textwrap.wrap(harmless(line), letters)]
    if lines:
        figure.set_size_inches(width, height + 0.25 * len(lines))
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=TEXT, color=INK, parse_math=False)
    write_new(path, rendered(figure, path.suffix.lower()))
    return path


def rendered(figure: "Figure", suffix: str, *, transparent: bool = False) -> bytes:
    """The bytes of a figure's file: no date, no random ids, and text kept as text."""
    import matplotlib

    dates = {".svg": "Date", ".pdf": "CreationDate"}
    stable: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "dalda", "pdf.fonttype": 42}
    file = io.BytesIO()
    with matplotlib.rc_context(stable), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no reason for a warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = {dates[suffix]: None} if suffix in dates else None
        figure.savefig(file, format=suffix[1:], dpi=160, transparent=transparent, metadata=metadata)
    return file.getvalue()


def styles_of(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of each arm."""
    return {name: STYLES[number % len(STYLES)] for number, name in enumerate(arms)}


def _ends(interval: Interval) -> list[float]:
    """The mean and, where there is an interval, its ends."""
    return [end for end in (interval.mean, interval.low, interval.high) if end is not None]


def _annotate(axes: "Axes", row: int, text: str, place: float, side: str) -> None:
    axes.annotate(
        text,
        (place, row),
        xycoords=("axes fraction", "data"),
        xytext=(0, 6),
        textcoords="offset points",
        ha=side,
        fontsize=TEXT,
        color=INK,
        parse_math=False,
    )


def add_legend(axes: "Axes", styles: Styles) -> None:
    """The arms' names and marks, above the axes."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **style, markersize=6) for style in styles.values()]
    labels = [shortened(name, LEGEND_LETTERS) for name in styles]
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2}
    for text in axes.legend(lines, labels, frameon=False, fontsize=SMALL, **place).get_texts():
        text.set_parse_math(False)
        text.set_color(INK)


def _label(axes: "Axes", across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=SMALL, color=SOFT, loc="left", parse_math=False)
    axes.set_ylabel(up, fontsize=SMALL, color=SOFT, parse_math=False)
    axes.tick_params(colors=SOFT, labelsize=SMALL)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
