"""The report's charts: accuracy per arm, gains per class, lambda against score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dalda.reporting.inline import ACCENT, FAINT, INK, PAPER, SOFT, inline_svg
from dalda.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.0
"""Inches, so 360 points: on a narrow screen a point is about a pixel."""
TEXT, SMALL = 11, 10
NAME = 38
"""Letters of a name that fit above its line."""
TICK_DOWN = 3
"""matplotlib's number for a short line downwards."""
MARKERS = ("D", "o", "s", "^", "v", "P", "X", "*")


def accuracy_chart(name: str, arms: Mapping[str, Interval], chance: float) -> str:
    """One line per arm, its name above it; the axis runs from 0 to 100 %."""
    figure, axes = _figure(0.62 * len(arms) + 0.62)
    for place, (arm, accuracy) in enumerate(arms.items()):
        axes.plot([0, 100], [place, place], color=FAINT, linewidth=1)
        axes.plot([100 * chance], [place], marker=TICK_DOWN, color=SOFT, markersize=6)
        _interval(axes, place, accuracy, 0.0, 100.0)
        _above(axes, place, arm, f"{accuracy.text()} %")
    axes.set_xlim(0, 100)
    _rows(axes, len(arms), f"accuracy, % (tick under each line: chance, {100 * chance:.0f} %)")
    values = "; ".join(f"{arm} {accuracy.text()} %" for arm, accuracy in arms.items())
    return inline_svg(figure, name, f"Accuracy with 95 % intervals: {values}")


def gains_chart(name: str, arm: str, classes: Mapping[str, Interval]) -> str:
    """One line per class, in the order given: what the arm gains or loses there, in points."""
    figure, axes = _figure(0.5 * len(classes) + 0.62)
    axes.axvline(0, color=SOFT, linewidth=1)
    ends = [end for gain in classes.values() for end in (gain.mean, gain.low, gain.high) if end is not None]
    reach = min(5 + 100 * max(map(abs, ends)), 100.0)
    for place, (label, gain) in enumerate(classes.items()):
        axes.plot([-reach, reach], [place, place], color=FAINT, linewidth=1)
        _interval(axes, place, gain, -reach, reach)
        _above(axes, place, label, gain.text("+"))
    axes.set_xlim(-reach, reach)
    _rows(axes, len(classes), "points gained (right) or lost (left)")
    values = "; ".join(f"{label} {gain.text('+')}" for label, gain in classes.items())
    return inline_svg(figure, name, f"Points gained by {arm} per class: {values}")


def shots_chart(name: str, arms: Mapping[str, Mapping[int, float]]) -> str:
    """Accuracy over shots, a line per arm with its own marker; the axis runs from 0 to 100 %."""
    from matplotlib.ticker import NullLocator

    figure, axes = _figure(3.4 + 0.2 * math.ceil(len(arms) / 2))
    lines = []
    for place, (arm, values) in enumerate(arms.items()):
        shots = sorted(values)
        lines += axes.plot(
            shots,
            [100 * values[count] for count in shots],
            color=SOFT if arm == "real" else ACCENT,
            linestyle=("-", "--", ":", "-.")[place % 4],
            marker=MARKERS[place % len(MARKERS)],
            markersize=6,
        )
    every = sorted({count for values in arms.values() for count in values})
    axes.set_xscale("log", base=2)
    axes.set_xticks(every, [str(count) for count in every])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 100)
    _plain(axes, "shots (real images per class)", "accuracy, %")
    names = [_short(arm, NAME // 2) for arm in arms]
    for text in axes.legend(
        lines, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=SMALL
    ).get_texts():
        text.set_parse_math(False)
        text.set_color(INK)
    said = "; ".join(
        f"{arm} " + ", ".join(f"{100 * value:.1f} % at {count}" for count, value in sorted(values.items()))
        for arm, values in arms.items()
    )
    return inline_svg(figure, name, f"Accuracy over shots: {said}")


@dataclass(frozen=True)
class Band:
    """Where adaptive guidance draws lambda, over rising CLIP class probabilities."""

    scores: Sequence[float]
    low: Sequence[float]
    mean: Sequence[float]
    high: Sequence[float]


def weight_chart(name: str, points: Sequence[tuple[float, float]], bands: Sequence[Band]) -> str:
    """Lambda against the source's CLIP class probability, a dot per image, over the bounds it was drawn
    within."""
    figure, axes = _figure(3.2)
    for band in bands:
        axes.fill_between(band.scores, band.low, band.high, color=FAINT, alpha=0.5, linewidth=0)
        axes.plot(band.scores, band.mean, color=SOFT, linewidth=1.2, linestyle="--")
    scores, weights = zip(*points, strict=True)
    axes.scatter(scores, weights, s=14, color=ACCENT, alpha=0.55, linewidths=0, clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    _plain(axes, "CLIP class probability of the real image", "λ, weight of the image")
    return inline_svg(
        figure,
        name,
        f"Lambda against CLIP class probability, {len(points)} images; the text below says what to see",
    )


def _figure(height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.04))
    return figure, figure.add_subplot()


def _interval(axes: "Axes", place: int, one: Interval, least: float, most: float) -> None:
    if one.low is not None and one.high is not None:
        low, high = (min(most, max(least, 100 * end)) for end in (one.low, one.high))
        axes.plot([low, high], [place, place], color=ACCENT, linewidth=6, alpha=0.35, solid_capstyle="butt")
    axes.plot(
        [100 * one.mean], [place], "D", color=ACCENT, markeredgecolor=PAPER, markersize=8, clip_on=False
    )


def _above(axes: "Axes", place: int, left: str, right: str) -> None:
    """The line's words, above it: the name on the left, the numbers on the right."""
    for text, where, side in ((_short(left, NAME - len(right)), 0.0, "left"), (right, 1.0, "right")):
        axes.annotate(
            text,
            (where, place),
            xycoords=("axes fraction", "data"),
            xytext=(0, 6),
            textcoords="offset points",
            ha=side,
            fontsize=TEXT,
            color=INK,
            parse_math=False,
        )


def _rows(axes: "Axes", count: int, label: str) -> None:
    axes.set_ylim(count - 0.6, -0.6)
    axes.set_yticks([])
    _plain(axes, label, "")


def _plain(axes: "Axes", across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=SMALL, color=SOFT, loc="left")
    axes.set_ylabel(up, fontsize=SMALL, color=SOFT)
    axes.tick_params(colors=SOFT, labelsize=SMALL)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _short(name: str, length: int = NAME) -> str:
    # Class names come from strangers: what XML cannot hold must not reach the file.
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())
    return plain if len(plain) <= length else plain[: max(1, length - 1)] + "…"
