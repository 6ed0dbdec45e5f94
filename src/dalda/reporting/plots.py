"""All figures: accuracy per arm, accuracy and gain over shots, gain per class, IP-Adapter scales.

Arms differ in colour (Okabe and Ito's, in an order of rising lightness), marker and line style, so that a
figure reads in grey and for colour-blind eyes. The same functions draw for files and for the report.
"""

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.errors import UserError
from dalda.reporting.text import harmless, shortened
from dalda.storage import write_new
from dalda.types import ZERO_SHOT, Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
INK, SOFT, FAINT, PAPER = "#1a1a1a", "#6b6b6b", "#cfcfcf", "#ffffff"
ACCENT = "#0072b2"
ARM_STYLES = [
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
LOOK = Path(__file__).parent / "templates/figures.mplstyle"
"""matplotlib's settings for all figures."""
ROW_LETTERS, LEGEND_LETTERS, LETTERS_PER_INCH = 38, 19, 11
MOST_CLASSES = 24
"""Classes in a figure; of more, those that lose and those that gain most."""
MOST_DOTS = 2000
BESIDE = 0.14
"""Between the marks of two arms in a row, as a share of the row."""
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


@contextmanager
def styled() -> Iterator[None]:
    """The settings of `LOOK` for matplotlib, also as a decorator of a function that draws."""
    import matplotlib

    with matplotlib.rc_context(fname=LOOK):
        yield


def new_figure(height: float, columns: int = 1) -> "Figure":
    """An empty figure of one column or more, `height` inches high."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(WIDTH * columns, height), layout=layout)


@styled()
def accuracy_rows(arms: Mapping[str, Interval], chance: float) -> "Figure":
    """One row per arm, and a line through all at the accuracy of zero-shot; from 0 to 100 %."""
    figure = new_figure(0.62 + 0.62 * len(arms))
    axes = figure.add_subplot()
    draw_rows(axes, list(arms), {"": arms}, (0, 100), "", {"": ONE_ARM})
    axes.plot([100 * chance] * len(arms), range(len(arms)), linestyle="", marker=TICK_DOWN, color=SOFT)
    marks = f"tick under each line: chance, {100 * chance:.0f} %"
    if ZERO_SHOT in arms:
        # Below it, training was worse than none.
        axes.axvline(100 * arms[ZERO_SHOT].mean, color=SOFT, linewidth=1, linestyle="--", zorder=0)
        marks += "; dashed: zero-shot"
    axes.set_xlabel(f"accuracy, % ({marks})")
    return figure


@styled()
def accuracy_figure(
    arms: Mapping[str, tuple[Interval, Sequence[float]]], path: Path, *, title: str = "", chance: float = 0
) -> Path:
    """Writes accuracy per arm with its interval, and the single seeds as circles.

    The suffix of `path` decides the format. Raises UserError for another suffix, and when a different file
    exists.
    """
    figure = accuracy_rows({arm: interval for arm, (interval, _) in arms.items()}, chance)
    for row, (_, seeds) in enumerate(arms.values()):
        percent = [100 * value for value in seeds]
        below = [row + 0.17] * len(seeds)
        figure.axes[0].plot(percent, below, "o", color=INK, markerfacecolor=PAPER, markersize=4)
    known = all(interval.low is not None for interval, _ in arms.values())
    note = "" if known else " (a single seed has no interval)"
    return save_figure(figure, path, f"{title}\nbar: 95 % interval over seeds, circles: single seeds{note}")


@styled()
def gain_rows(gains: Mapping[str, Interval]) -> "Figure":
    """One arm's gain per class, a row each, the class that gains most first."""
    arms = {"": gains}
    rows = ordered_classes(arms)
    figure = new_figure(0.62 + 0.5 * len(rows))
    draw_gain_rows(figure.add_subplot(), rows, arms, {"": ONE_ARM})
    return figure


def draw_gain_rows(axes: "Axes", rows: Sequence[str], gains: ArmIntervals, styles: Styles) -> None:
    """The gain of each class in points, for all arms, on an axis with 0 in the middle."""
    shown = [arm[row] for arm in gains.values() for row in rows if row in arm]
    ends = [abs(end) for gain in shown for end in (gain.mean, gain.low, gain.high) if end is not None]
    span = min(100.0, 5 + 100 * max(ends, default=0.0))
    axes.axvline(0, color=SOFT, linewidth=1)
    draw_rows(axes, rows, gains, (-span, span), "+", styles)
    axes.set_xlabel("points gained (right) or lost (left)")


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
    above: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "xytext": (0, 6),
        "textcoords": "offset points",
    }
    for row, name in enumerate(rows):
        axes.plot(limits, [row, row], color=FAINT, linewidth=1)
        for number, arm in enumerate(arm for arm in arms if name in arms[arm]):
            _draw_mark(axes, row + BESIDE * number, arms[arm][name], limits, styles[arm])
        numbers = "".join(arm[name].text(sign) for arm in arms.values() if name in arm and len(arms) == 1)
        axes.annotate(shortened(name, ROW_LETTERS - len(numbers)), (0, row), ha="left", **above)
        axes.annotate(numbers, (1, row), ha="right", **above)
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.7 + BESIDE * len(arms), -0.6)
    axes.set_yticks([])


def _draw_mark(
    axes: "Axes", height: float, interval: Interval, limits: tuple[float, float], style: Mapping[str, Any]
) -> None:
    color, marker = style["color"], style["marker"]
    if interval.low is not None and interval.high is not None:
        ends = [min(limits[1], max(limits[0], 100 * end)) for end in (interval.low, interval.high)]
        axes.plot(ends, [height] * 2, color=color, linewidth=5, alpha=0.35, solid_capstyle="butt")
    mark = {"color": color, "marker": marker, "markersize": 7, "markeredgecolor": PAPER}
    axes.plot([100 * interval.mean], [height], **mark, clip_on=False)


@styled()
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
        keys, style = sorted(arm, key=shots_order), styles[name]
        # Many arms stand closer, so that all stay between their own ticks.
        shift = min(0.06, 0.7 / max(1, len(arms) - 1)) * (number - (len(arms) - 1) / 2)
        across = [shots.index(key) + shift for key in keys]
        axes.plot(across, [100 * arm[key].mean for key in keys], **style)
        for x, interval in zip(across, (arm[key] for key in keys), strict=True):
            if interval.low is not None and interval.high is not None:
                axes.vlines(
                    x, 100 * interval.low, 100 * interval.high, style["color"], linewidth=1, alpha=0.6
                )
    axes.set_xticks(range(len(shots)), shots)
    axes.set_xlim(-0.4, len(shots) - 0.6)
    axes.grid(axis="y", linewidth=0.8)
    axes.set_xlabel("shots (real images per class)")
    axes.set_ylabel(label)
    add_legend(axes, {name: styles[name] for name in arms})


def shots_order(shots: str) -> float:
    """Sorts numbers of shots, with `all` last."""
    return float("inf") if shots == "all" else float(shots)


@styled()
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
    across, up = zip(*points[:: -(-len(points) // MOST_DOTS)], strict=True)
    axes.scatter(across, up, s=14, color=color, alpha=0.55, linewidths=0, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("CLIP class probability of the source image")
    axes.set_ylabel("IP-Adapter scale")


def styles_of(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of each arm."""
    return {name: ARM_STYLES[number % len(ARM_STYLES)] for number, name in enumerate(arms)}


def add_legend(axes: "Axes", styles: Styles) -> None:
    """The arms' names and marks, above the axes."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], **style) for style in styles.values()]
    labels = [shortened(name, LEGEND_LETTERS) for name in styles]
    axes.legend(lines, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


@styled()
def save_figure(figure: "Figure", path: Path, heading: str = "") -> Path:
    """Writes a new PNG, SVG or PDF file, the same bytes for the same figure."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"the figure '{path}' must end in {', '.join(FORMATS)}")
    width, height = figure.get_size_inches()
    letters = int(LETTERS_PER_INCH * width)
    lines = [part for line in heading.splitlines() for part in textwrap.wrap(harmless(line), letters)]
    if lines:
        figure.set_size_inches(width, height + 0.25 * len(lines))
        figure.suptitle("\n".join(lines), x=0.01, ha="left")
    write_new(path, rendered(figure, path.suffix.lower()))
    return path


@styled()
def rendered(figure: "Figure", suffix: str, *, transparent: bool = False) -> bytes:
    """The bytes of a figure's file, without a date."""
    date = {".svg": "Date", ".pdf": "CreationDate"}.get(suffix)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no reason for a warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = {date: None} if date else None
        figure.savefig(file, format=suffix[1:], dpi=160, transparent=transparent, metadata=metadata)
    return file.getvalue()
