"""What came of making, importing and reviewing images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dalda.workflows.reports.table import counts


@dataclass(frozen=True)
class AugmentReport:
    """What an augment run did."""

    out: Path
    planned: int
    generated: int
    already_there: int
    dropped: int
    seconds: float
    dropped_for: Mapping[str, int] = field(default_factory=dict)
    """What was wrong with the images that were dropped, and with how many."""
    rendered_again: Mapping[str, int] = field(default_factory=dict)
    """What was wrong with the first images of requests whose second one is kept."""
    skipped: tuple[str, ...] = ()
    """A sentence on each image of the data set that could not be used."""
    batch_size: int | None = None
    """Images rendered together at the end; None where none was rendered."""

    def as_json(self) -> dict[str, Any]:
        pace = round(self.generated / self.seconds, 2) if self.seconds else 0.0
        return {**asdict(self), "out": str(self.out), "images_per_second": pace}

    def lines(self) -> list[str]:
        lines = [f"{self.generated} images generated in {self.seconds:.0f} s: {self.out}"]
        if self.already_there:
            lines.append(f"{self.already_there} of {self.planned} were already there")
        if self.rendered_again:
            again = sum(self.rendered_again.values())
            lines.append(f"{again} were rendered a second time ({counts(self.rendered_again)})")
        if self.dropped:
            why = counts(self.dropped_for)
            lines.append(f"{self.dropped} were dropped ({why}); {self.out}/dropped.jsonl names them")
        lines += [f"left out: {sentence}" for sentence in self.skipped]
        return lines


@dataclass(frozen=True)
class Preview:
    """What an augment run would do."""

    planned: int
    classes: int
    images: int
    ip_adapter_scale: Mapping[str, float]
    """Minimum, quartiles and maximum."""
    trusts_image: int
    """Requests whose CLIP class probability is at most 0.3."""
    seconds: float | None
    """Measured on one small batch, extrapolated; None where the model could not be tried."""
    megabytes: float
    skipped: tuple[str, ...] = ()
    """A sentence on each image of the data set that cannot be used."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        spread = ", ".join(f"{name} {value:.2f}" for name, value in self.ip_adapter_scale.items())
        time = "unknown" if self.seconds is None else f"about {self.seconds:.0f} s"
        return [
            f"{self.planned} images from {self.images} real images of {self.classes} classes",
            f"lambda: {spread}",
            f"{self.trusts_image} of them from real images that score at most 0.3, so more of the image",
            f"time: {time}; disk: about {self.megabytes:.1f} MB; nothing was rendered",
            *(f"left out: {sentence}" for sentence in self.skipped),
        ]


@dataclass(frozen=True)
class ImportReport:
    """What became of a folder that the original DALDA code made."""

    out: Path
    images: int
    """That are there and that the folder's table names."""
    kept: int
    dropped_for: Mapping[str, int]
    """What was wrong with the others, and with how many."""
    skipped: tuple[str, ...]
    """A sentence on each image that could not be read."""
    rows_without_image: int
    images_without_row: int

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        lines = [f"{self.kept} of {self.images} images are in {self.out}"]
        if self.dropped_for:
            dropped = sum(self.dropped_for.values())
            lines.append(f"{dropped} were dropped ({counts(self.dropped_for)}): {self.out}/dropped.jsonl")
        if self.rows_without_image:
            lines.append(f"{self.rows_without_image} rows of the table have no image")
        if self.images_without_row:
            lines.append(f"{self.images_without_row} images are not in the table, and are left out")
        return lines + [f"left out: {sentence}" for sentence in self.skipped]


@dataclass(frozen=True)
class ReviewReport:
    """Where a review stands."""

    out: Path
    samples: int
    kept: int
    rejected: int

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        left = self.samples - self.kept - self.rejected
        lines = [f"{self.samples} samples: {self.kept} kept, {self.rejected} rejected, {left} undecided"]
        if self.rejected:
            lines.append(f"{self.out}/review.jsonl says which; training, export and report leave them out")
        return lines
