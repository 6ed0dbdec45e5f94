"""Rows under a heading, and numbers with their bounds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dalda.evaluation.statistics import Interval


@dataclass(frozen=True)
class Bounds:
    """A mean over seeds with its 95 % interval; without bounds when there is one seed."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: "Interval") -> "Bounds":
        """An interval as it is answered: an infinite one has no bounds."""
        if not math.isfinite(found.low):
            return cls(found.mean, None, None)
        return cls(found.mean, found.low, found.high)

    def text(self, sign: str = "") -> str:
        middle = f"{self.mean * 100:{sign}.1f}"
        if self.low is None or self.high is None:
            return middle
        return f"{middle}  ({self.low * 100:{sign}.1f} to {self.high * 100:{sign}.1f})"


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
