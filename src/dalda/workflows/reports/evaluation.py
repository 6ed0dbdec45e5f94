"""What a synthetic set is worth by itself."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.workflows.reports.table import finite, table

if TYPE_CHECKING:
    from dalda.evaluation.generative_metrics import Evaluation, Quality

COLUMN = 10
SHOWN = {
    "synthetic_images": "images",
    "source_clip_probability": "score",
    "kid": "kid",
    "cmmd": "cmmd",
    "density": "density",
    "coverage": "coverage",
    "vendi_score": "vendi",
    "mean_distance": "distance",
    "near_copies": "copies",
    "off_target": "strays",
}
"""The measures of a synthetic set, and how their columns are headed."""


@dataclass(frozen=True)
class EvaluateReport:
    """What can be said of a synthetic set without training."""

    found: "Evaluation"
    real: Sequence[Path]
    """The real images, in the order that `nearest` counts in."""
    backbone: str
    rejected: int

    def as_json(self) -> dict[str, Any]:
        copies = [
            {"file": str(one.sample.path), "nearest": str(self.real[one.nearest]), "cosine": one.cosine}
            for one in self.found.looks
            if one.near_copy
        ]
        strays = [
            {"file": str(one.sample.path), "label": one.sample.label, "seen": one.seen}
            for one in self.found.looks
            if one.off_target
        ]
        return {
            "backbone": self.backbone,
            "overall": _measures(self.found.overall),
            "classes": {name: _measures(one) for name, one in self.found.classes.items()},
            "near_copies": copies,
            "off_target": strays,
            "rejected_in_review": self.rejected,
        }

    def lines(self) -> list[str]:
        heading = "".join(f"{name:>{COLUMN}}" for name in SHOWN.values())
        rows = {"all": self.found.overall, **self.found.classes}
        lines = table({name: _shown(one) for name, one in rows.items()}, heading, "class")
        low = "low is better for kid, cmmd, copies and strays, high for the others"
        lines.append(f"features of {self.backbone}; {low}; docs/trials.md says what each is")
        if self.rejected:
            lines.append(f"{self.rejected} images were left out, since they were rejected in review")
        return lines


def _measures(found: "Quality") -> dict[str, float | None]:
    return {name: finite(value) for name, value in asdict(found).items()}


def _shown(found: "Quality") -> str:
    values = asdict(found)
    return "".join(f"{_short(values[name]):>{COLUMN}}" for name in SHOWN)


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
