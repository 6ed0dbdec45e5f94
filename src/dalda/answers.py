"""What each verb answers: as one JSON object, and as lines for a person."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dalda.prompts.write import CaptionReport
    from dalda.trials.metrics import Interval


@dataclass(frozen=True)
class AugmentReport:
    """What an augment run did."""

    out: Path
    planned: int
    painted: int
    already_there: int
    dropped: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        pace = round(self.painted / self.seconds, 2) if self.seconds else 0.0
        return {**asdict(self), "out": str(self.out), "images_per_second": pace}

    def lines(self) -> list[str]:
        lines = [f"{self.painted} pictures painted in {self.seconds:.0f} s: {self.out}"]
        if self.already_there:
            lines.append(f"{self.already_there} of {self.planned} were already there")
        if self.dropped:
            lines.append(f"{self.dropped} were dropped; {self.out}/dropped.jsonl says why")
        return lines


@dataclass(frozen=True)
class Preview:
    """What an augment run would do."""

    planned: int
    classes: int
    examples: int
    ip_adapter_scale: Mapping[str, float]
    """Minimum, quartiles and maximum."""
    trusts_image: int
    """Jobs whose CLIP score is at most 0.3."""
    seconds: float | None
    """Measured on one small batch, extrapolated; None where the model could not be tried."""
    megabytes: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        spread = ", ".join(f"{name} {value:.2f}" for name, value in self.ip_adapter_scale.items())
        time = "unknown" if self.seconds is None else f"about {self.seconds:.0f} s"
        return [
            f"{self.planned} pictures from {self.examples} examples of {self.classes} classes",
            f"lambda: {spread}",
            f"{self.trusts_image} of them from examples that score at most 0.3, so more of the picture",
            f"time: {time}; disk: about {self.megabytes:.1f} MB; nothing was rendered",
        ]


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


@dataclass(frozen=True)
class TrainReport:
    """Accuracy per arm, and each synthetic arm against `real`, paired by seed."""

    arms: Mapping[str, Bounds]
    gains: Mapping[str, Bounds]
    verdicts: Mapping[str, str]
    validation_images: int
    out: Path | None

    def as_json(self) -> dict[str, Any]:
        arms = {
            name: {"accuracy": one.mean, "low": one.low, "high": one.high}
            for name, one in self.arms.items()
        }
        gains = {name: asdict(one) for name, one in self.gains.items()}
        out = None if self.out is None else str(self.out)
        return {"arms": arms, "gains": gains, "validation_images": self.validation_images, "out": out}

    def lines(self) -> list[str]:
        lines = list(self.verdicts.values())
        lines += table({name: one.text() for name, one in self.arms.items()}, "accuracy, %")
        return [*lines, *([f"results: {self.out}/results.csv"] if self.out else [])]


@dataclass(frozen=True)
class DemoReport:
    """What synthetic images did to the classifier in the embedded world."""

    sentence: str
    arms: Mapping[str, Bounds]
    groups: Mapping[str, Mapping[str, float]]
    """Mean accuracy per arm on the familiar and on the unfamiliar classes."""
    gain: Bounds
    comparisons: tuple[str, ...]
    problem: str
    figure: Path
    sheet: Path
    zero_shot: float = 0.0
    """Accuracy of CLIP's own zero-shot classifier, which no picture of the few shots has touched."""
    images: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        arms = {
            name: {"accuracy": one.mean, "low": one.low, "high": one.high}
            for name, one in self.arms.items()
        }
        return {
            "arms": arms,
            "gain": asdict(self.gain),
            "groups": self.groups,
            "zero_shot": self.zero_shot,
            "images": self.images,
            "seconds": self.seconds,
            "figure": str(self.figure),
            "sheet": str(self.sheet),
        }

    def lines(self) -> list[str]:
        rows = {
            name: one.text().ljust(24)
            + "".join(f"{group[name] * 100:>14.1f}" for group in self.groups.values())
            for name, one in self.arms.items()
        }
        heading = "accuracy, % (95 % interval)".ljust(24) + "".join(f"{name:>14}" for name in self.groups)
        return [
            self.sentence,
            "",
            *table(rows, heading),
            "",
            *self.comparisons,
            self.problem,
            f"CLIP without training is right in {self.zero_shot * 100:.1f} %: it saw this world before,",
            "and a head that is trained on a few narrow pictures unlearns some of that.",
            f"{self.images} pictures painted; {self.seconds:.0f} s in all",
            f"figure: {self.figure}",
            f"sheet: {self.sheet}",
        ]


def table(rows: Mapping[str, str], heading: str) -> list[str]:
    """Named rows under a heading, aligned."""
    width = max(len(name) for name in [*rows, "arm"]) + 2
    return [f"{'arm':<{width}}{heading}", *(f"{name:<{width}}{text}" for name, text in rows.items())]


def caption_lines(report: "CaptionReport", sample: int) -> list[str]:
    """What came of writing captions, what is missing and why, and some for the eye."""
    count = sum(len(captions) for captions in report.book.values())
    lines = [f"{count} captions for {len(report.book)} classes, by {report.author}: {report.path}"]
    if report.questions:
        spent = f"{report.tokens_in} tokens in, {report.tokens_out} out"
        lines.append(f"{report.questions} questions asked, {spent}; answers on disk cost nothing again")
    if report.tokens_estimated and report.author != "grammar":
        lines.append("the text encoder's limit was checked by estimate, since its tokenizer is not on disk")
    quality = report.summary
    if quality.distinct_2 is not None and quality.similarity is not None:
        alike = f"similarity within a class {quality.similarity:.2f}"
        lines.append(f"distinct-2 {quality.distinct_2:.2f}, {alike}")
    if quality.rejected:
        told = ", ".join(f"{reason} ({number})" for reason, number in quality.rejected.items())
        lines.append(f"rejected: {told}")
    for name, captions in report.sample(sample).items() if sample else ():
        lines += [f"{name}: {caption}" for caption in captions]
    for one in report.missing:
        lines.append(f"missing: {one.label} has {one.captions} of {one.wanted} ({one.reason})")
    if report.stopped:
        lines.append(f"stopped: {report.stopped}")
    return lines
