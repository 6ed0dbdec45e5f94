"""Percentages, counts and durations as text."""

import math
from collections.abc import Mapping


def percent(value: float) -> str:
    return f"{value * 100:.1f}" if math.isfinite(value) else "-"


def by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.items())


def excluded_lines(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each arm with excluded images."""
    return [f"{arm} excludes {by_reason(reasons)}" for arm, reasons in counts.items() if reasons]


def in_seconds(seconds: float | None) -> str:
    return "unknown time" if seconds is None else f"about {seconds:.0f} s"
