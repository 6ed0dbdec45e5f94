"""Rows under a heading, and numbers with their bounds."""

import math
from collections.abc import Mapping


def table(rows: Mapping[str, str], heading: str, first: str = "arm") -> list[str]:
    """Named rows under a heading, aligned."""
    width = max(len(name) for name in [*rows, first]) + 2
    return [f"{first:<{width}}{heading}", *(f"{name:<{width}}{text}" for name, text in rows.items())]


def finite(value: float) -> float | None:
    """The number, or None where there is none: JSON knows no NaN."""
    return value if math.isfinite(value) else None


def counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.items())


def left_out_line(arm: str, reasons: Mapping[str, int]) -> str:
    """What an arm did not use, by reason."""
    return f"{arm} leaves out {', '.join(f'{count} ({reason})' for reason, count in reasons.items())}"
