"""Percentages, counts and durations as text."""

import math
from collections.abc import Mapping


def percent(value: float) -> str:
    return f"{value * 100:.1f}" if math.isfinite(value) else "-"


def counted(count: int, thing: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.items())


def excluded_lines(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each arm with excluded images."""
    return [f"{arm} excludes {by_reason(reasons)}" for arm, reasons in counts.items() if reasons]


def rejected_lines(count: int) -> list[str]:
    return [f"{count} images were rejected in review and excluded"] if count else []


def in_seconds(seconds: float | None) -> str:
    """In seconds, minutes or hours, whichever has few digits."""
    if seconds is None:
        return "unknown time"
    parts = ((1, "s"), (60, "min"), (3600, "h"))
    size, unit = next(((size, unit) for size, unit in parts if seconds < 180 * size), parts[-1])
    return f"about {seconds / size:.{int(0 < seconds / size < 10 and size > 1)}f} {unit}"
