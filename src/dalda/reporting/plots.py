"""Figures: accuracy per arm. Readable in grey, with direct labels and the whole axis."""

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.errors import UserError
from dalda.storage import write_new
from dalda.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
INK, SOFT, FAINT = "#1a1a1a", "#767676", "#d9d9d9"
ACCENT = "#0072B2"
"""Okabe and Ito's blue; dark enough to stand out when printed in grey."""
NAME_WIDTH, TITLE_WIDTH = 28, 80
BESIDE = ("axes fraction", "data")


def accuracy_figure(
    arms: Mapping[str, tuple[Interval, Sequence[float]]],
    path: Path,
    *,
    title: str = "",
    chance: float | None = None,
) -> Path:
    """Draws one line per arm, in the order given: mean, 95 % interval and the single seeds' values as dots.

    The axis always runs from 0 to 100 %. `chance` (a share) is marked when given. The suffix of `path`
    decides the format: png, svg or pdf. Raises UserError for another suffix, for no arms, and when a
    different file is there already.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"the figure '{path}' must end in {', '.join(FORMATS)}")
    if not arms:
        raise UserError("there is no arm to draw; train one first")
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heading = textwrap.wrap(title, TITLE_WIDTH)
    height = 1.35 + 0.55 * len(arms) + 0.25 * len(heading)
    figure = Figure(figsize=(8, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    axes = figure.add_subplot()
    for place, (accuracy, values) in enumerate(arms.values()):
        _draw_arm(axes, place, accuracy, values)
    _draw_axis(axes, [_shortened(name) for name in arms])
    if chance is not None:
        _draw_chance(axes, chance, len(arms))
    if heading:
        figure.suptitle("\n".join(heading), x=0.01, ha="left", fontsize=12, color=INK, parse_math=False)
    said = "bar: 95 % interval over seeds"
    if any(accuracy.low is None for accuracy, _ in arms.values()):
        said += " (a single seed gives none)"
    figure.supxlabel(
        f"diamond: mean   circles: single seeds   {said}", x=0.01, ha="left", fontsize=9, color=SOFT
    )
    write_new(path, _rendered(figure, path.suffix.lower()))
    return path


def _draw_arm(axes: "Axes", place: int, arm: Interval, values: Sequence[float]) -> None:
    percent = [100 * value for value in values]
    label = f"{100 * arm.mean:.1f} %"
    if arm.low is not None and arm.high is not None:
        low, high = (min(100.0, max(0.0, 100 * end)) for end in (arm.low, arm.high))
        axes.plot([low, high], [place, place], color=ACCENT, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot([low, high], [place, place], "|", color=ACCENT, markersize=13, markeredgewidth=1.5)
        label += f"   {low:.1f} to {high:.1f}"
    axes.plot([100 * arm.mean], [place], "D", color=ACCENT, markersize=8, clip_on=False)
    # Below the interval, where the mean cannot hide them.
    below = [place + 0.3] * len(percent)
    axes.plot(percent, below, "o", color=INK, markerfacecolor="white", markersize=5, clip_on=False)
    axes.annotate(label, (1.02, place), xycoords=BESIDE, va="center", fontsize=10, color=INK)


def _draw_axis(axes: "Axes", names: list[str]) -> None:
    axes.annotate(
        "mean     95 % interval", (1.02, -0.5), xycoords=BESIDE, va="center", fontsize=9, color=SOFT
    )
    axes.set_xlim(0, 100)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, fontsize=11, color=INK, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", colors=SOFT, labelsize=9)
    axes.set_xlabel("accuracy on the whole validation set (%)", fontsize=9, color=SOFT, loc="left")
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _draw_chance(axes: "Axes", chance: float, arms: int) -> None:
    axes.axvline(100 * chance, color=SOFT, linewidth=1, linestyle=":")
    axes.annotate(
        "chance",
        (100 * chance, arms - 0.5),
        xytext=(3, 3),
        textcoords="offset points",
        fontsize=8,
        color=SOFT,
    )


def _shortened(name: str) -> str:
    plain = " ".join(name.split())
    return plain if len(plain) <= NAME_WIDTH else plain[: NAME_WIDTH - 1] + "…"


def _rendered(figure: "Figure", suffix: str) -> bytes:
    """The file's bytes, the same for the same figure: no date, no random ids, and text kept as text."""
    import matplotlib

    dates = {".svg": "Date", ".pdf": "CreationDate"}
    stable: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "dalda", "pdf.fonttype": 42}
    file = io.BytesIO()
    with matplotlib.rc_context(stable), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no reason to be noisy.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = {dates[suffix]: None} if suffix in dates else None
        figure.savefig(file, format=suffix[1:], dpi=160, facecolor="white", metadata=metadata)
    return file.getvalue()
