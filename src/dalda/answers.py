"""What each verb answers: as one JSON object, and as lines for a person."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dalda.prompts.write import CaptionReport
    from dalda.trials.metrics import Comparison, Interval
    from dalda.trials.quality import Evaluation, Quality
    from dalda.trials.summary import Summary


@dataclass(frozen=True)
class AugmentReport:
    """What an augment run did."""

    out: Path
    planned: int
    painted: int
    already_there: int
    dropped: int
    seconds: float
    dropped_for: Mapping[str, int] = field(default_factory=dict)
    """What was wrong with the pictures that were dropped, and with how many."""
    rendered_again: Mapping[str, int] = field(default_factory=dict)
    """What was wrong with the first pictures of jobs whose second one is kept."""
    skipped: tuple[str, ...] = ()
    """A sentence on each picture of the data set that could not be used."""
    batch_size: int | None = None
    """Pictures rendered together at the end; None where none was rendered."""

    def as_json(self) -> dict[str, Any]:
        pace = round(self.painted / self.seconds, 2) if self.seconds else 0.0
        return {**asdict(self), "out": str(self.out), "images_per_second": pace}

    def lines(self) -> list[str]:
        lines = [f"{self.painted} pictures painted in {self.seconds:.0f} s: {self.out}"]
        if self.already_there:
            lines.append(f"{self.already_there} of {self.planned} were already there")
        if self.rendered_again:
            again = sum(self.rendered_again.values())
            lines.append(f"{again} were rendered a second time ({_counts(self.rendered_again)})")
        if self.dropped:
            why = _counts(self.dropped_for)
            lines.append(f"{self.dropped} were dropped ({why}); {self.out}/dropped.jsonl names them")
        lines += [f"left out: {sentence}" for sentence in self.skipped]
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
    skipped: tuple[str, ...] = ()
    """A sentence on each picture of the data set that cannot be used."""

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
            *(f"left out: {sentence}" for sentence in self.skipped),
        ]


@dataclass(frozen=True)
class ImportReport:
    """What became of a folder that the authors' code made."""

    out: Path
    pictures: int
    """That are there and that the folder's table names."""
    kept: int
    dropped_for: Mapping[str, int]
    """What was wrong with the others, and with how many."""
    skipped: tuple[str, ...]
    """A sentence on each picture that could not be read."""
    rows_without_picture: int
    pictures_without_row: int

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        lines = [f"{self.kept} of {self.pictures} pictures are in {self.out}"]
        if self.dropped_for:
            dropped = sum(self.dropped_for.values())
            lines.append(f"{dropped} were dropped ({_counts(self.dropped_for)}): {self.out}/dropped.jsonl")
        if self.rows_without_picture:
            lines.append(f"{self.rows_without_picture} rows of the table have no picture")
        if self.pictures_without_row:
            lines.append(f"{self.pictures_without_row} pictures are not in the table, and are left out")
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
class ArmReport:
    """The numbers of one arm, and how many synthetic images it left out, by reason."""

    numbers: "Summary"
    left_out: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        found = self.numbers
        accuracy, macro = Bounds.of(found.accuracy), Bounds.of(found.macro_accuracy)
        return {
            "accuracy": accuracy.mean,
            "low": accuracy.low,
            "high": accuracy.high,
            "macro_accuracy": asdict(macro),
            "best_epoch_accuracy": found.best_epoch_accuracy,
            "loss": found.loss,
            "calibration_error": finite(found.calibration_error),
            "class_accuracy": {name: finite(value) for name, value in found.class_accuracy.items()},
            "confusion": found.confusion,
            "accuracy_by_seed": found.accuracy_by_seed,
            "real_images": found.real_images,
            "synthetic_images": found.synthetic_images,
            "left_out": dict(self.left_out),
        }

    def text(self) -> str:
        found = self.numbers
        rest = (found.macro_accuracy.mean, found.best_epoch_accuracy, found.calibration_error)
        return Bounds.of(found.accuracy).text().ljust(24) + "".join(f"{one * 100:>13.1f}" for one in rest)


@dataclass(frozen=True)
class GainReport:
    """How one arm compares with `real`, and the sentence about it."""

    found: "Comparison"
    verdict: str

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(Bounds.of(self.found.overall)),
            "by_seed": asdict(Bounds.of(self.found.by_seed)),
            "by_image": asdict(Bounds.of(self.found.by_image)),
            "chance_of_no_gain": self.found.chance_of_no_gain,
            "verdict": self.verdict,
        }

    def lines(self) -> list[str]:
        low, high = self.found.by_image.low * 100, self.found.by_image.high * 100
        chance = f"chance of no gain {self.found.chance_of_no_gain * 100:.0f} %"
        return [self.verdict, f"  these classifiers on other images: {low:+.1f} to {high:+.1f}; {chance}"]


@dataclass(frozen=True)
class TrainReport:
    """The numbers of each arm, and each synthetic arm against `real`, paired by seed and by image."""

    classes: tuple[str, ...]
    arms: Mapping[str, ArmReport]
    gains: Mapping[str, GainReport]
    validation_images: int
    out: Path | None

    def as_json(self) -> dict[str, Any]:
        return {
            "arms": {name: one.as_json() for name, one in self.arms.items()},
            "gains": {name: one.as_json() for name, one in self.gains.items()},
            "classes": self.classes,
            "validation_images": self.validation_images,
            "out": None if self.out is None else str(self.out),
        }

    def lines(self) -> list[str]:
        lines = [line for one in self.gains.values() for line in one.lines()]
        heading = "accuracy, % (95 %)".ljust(24)
        heading += "".join(f"{name:>13}" for name in ("macro", "best epoch", "calibration"))
        lines += table({name: one.text() for name, one in self.arms.items()}, heading)
        lines += [
            f"{name} leaves out {', '.join(f'{count} ({kind})' for kind, count in one.left_out.items())}"
            for name, one in self.arms.items()
            if one.left_out
        ]
        return [*lines, *([f"results: {self.out}/results.csv"] if self.out else [])]


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
            lines.append(f"{self.rejected} pictures were left out, since they were rejected in review")
        return lines


COLUMN = 10
SHOWN = {
    "synthetic_images": "images",
    "clip_score": "score",
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


def _measures(found: "Quality") -> dict[str, float | None]:
    return {name: finite(value) for name, value in asdict(found).items()}


def _shown(found: "Quality") -> str:
    values = asdict(found)
    return "".join(f"{_short(values[name]):>{COLUMN}}" for name in SHOWN)


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def finite(value: float) -> float | None:
    """The number, or None where there is none: JSON knows no NaN."""
    return value if math.isfinite(value) else None


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


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.items())


@dataclass(frozen=True)
class StudyComparison:
    """The arms of a study at each number of shots (`all` is no limit), and against its real arm."""

    arms: Mapping[str, Mapping[str, Bounds]]
    """Arm to shots to accuracy over seeds."""
    gains: Mapping[str, Mapping[str, Bounds]]
    """The same for the gain over the real arm, paired by seed; empty where there is none."""
    sentences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "arms": {
                arm: {key: asdict(one) for key, one in found.items()} for arm, found in self.arms.items()
            },
            "gains": {
                arm: {key: asdict(one) for key, one in found.items()} for arm, found in self.gains.items()
            },
        }

    def lines(self) -> list[str]:
        shots = list(dict.fromkeys(key for found in self.arms.values() for key in found))
        heading = "".join(f"{key + (' shot' if key == '1' else ' shots'):<26}" for key in shots)
        rows = {
            arm: "".join((found[key].text() if key in found else "").ljust(26) for key in shots).rstrip()
            for arm, found in self.arms.items()
        }
        return [*self.sentences, "accuracy, % (95 % interval over seeds)", *table(rows, heading.rstrip())]


@dataclass(frozen=True)
class StudyReport:
    """What a run of a study did, and what its trials say so far."""

    out: Path
    trials: int
    trained: int
    painted: int
    seconds: float
    comparison: StudyComparison

    def as_json(self) -> dict[str, Any]:
        counts = {"trials": self.trials, "trained": self.trained, "painted": self.painted}
        return {"out": str(self.out), **counts, "seconds": self.seconds, **self.comparison.as_json()}

    def lines(self) -> list[str]:
        done = f"{self.trained} of {self.trials} trials trained, {self.painted} pictures painted"
        return [
            *self.comparison.lines(),
            f"{done}, in {self.seconds:.0f} s; the others were there",
            f"results: {self.out}/results.csv",
        ]


@dataclass(frozen=True)
class StudyPreview:
    """What a run of a study would do."""

    out: Path
    arms: tuple[str, ...]
    trials: int
    missing_trials: int
    synthetic_sets: int
    images: int
    missing_images: int
    painting_seconds: float | None
    """Measured on one small batch of each model, extrapolated; None where a model could not be tried."""
    training_seconds: float | None
    megabytes: float

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out), "arms": list(self.arms)}

    def lines(self) -> list[str]:
        def said(seconds: float | None) -> str:
            return "unknown time" if seconds is None else f"about {seconds:.0f} s"

        return [
            f"{len(self.arms)} arms: {', '.join(self.arms)}",
            f"{self.missing_trials} of {self.trials} trials to train: {said(self.training_seconds)}",
            f"{self.missing_images} of {self.images} pictures to paint, for {self.synthetic_sets} sets: "
            f"{said(self.painting_seconds)}, about {self.megabytes:.1f} MB",
            f"results would go to {self.out}; nothing was made",
        ]


def table(rows: Mapping[str, str], heading: str, first: str = "arm") -> list[str]:
    """Named rows under a heading, aligned."""
    width = max(len(name) for name in [*rows, first]) + 2
    return [f"{first:<{width}}{heading}", *(f"{name:<{width}}{text}" for name, text in rows.items())]


def caption_lines(report: "CaptionReport", sample: int) -> list[str]:
    """What came of writing captions, what is missing and why, and some for the eye."""
    count = sum(len(captions) for captions in report.book.values())
    each = f"at least {report.summary.fewest} each"
    lines = [
        f"{count} captions for {report.summary.classes} classes, {each}, by {report.author}: {report.path}"
    ]
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
    width = max((len(one.label) for one in report.missing), default=0)
    for one in report.missing:
        lines.append(f"missing: {one.label:<{width}}  {one.captions} of {one.wanted}  {one.reason}")
    if report.stopped:
        lines.append(f"stopped: {report.stopped}")
    return lines
