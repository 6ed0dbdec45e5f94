"""The result of each workflow, as plain values. `dalda.cli.output` turns them into text and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.evaluation.comparison import ArmNumbers, ArmSummary, Comparison
from dalda.evaluation.verdict import Answer
from dalda.types import Interval

if TYPE_CHECKING:
    from dalda.evaluation.generative_metrics import SetMeasures


@dataclass(frozen=True)
class AugmentReport:
    """How many synthetic images an augment run generated, kept and dropped."""

    out: Path
    planned: int
    generated: int
    already_there: int
    dropped: int
    seconds: float
    dropped_for: Mapping[str, int] = field(default_factory=dict)
    """Dropped images by reason."""
    retried_for: Mapping[str, int] = field(default_factory=dict)
    """Images that were generated a second time, by the fault of the first one."""
    skipped: tuple[str, ...] = ()
    """A sentence on each real image that cannot be used."""
    batch_size: int | None = None
    """Images per batch at the end; None where none was generated."""
    fitting_seconds: float = 0.0
    generating_seconds: float = 0.0
    """Of `seconds`, without the loading of models."""

    @property
    def images_per_second(self) -> float:
        return round(self.generated / self.seconds, 2) if self.seconds else 0.0


@dataclass(frozen=True)
class AugmentDryRun:
    """What an augment run would generate."""

    planned: int
    classes: int
    images: int
    ip_adapter_scale: Mapping[str, float]
    """Minimum, quartiles and maximum; empty where CLIP, which decides them, is not on disk."""
    low_clip_probability: int | None
    """Requests whose real image has a CLIP class probability of at most 0.3; None without the model."""
    seconds: float | None
    """Measured on one small batch, or computed where the model is not on disk; None if neither can be."""
    megabytes: float
    skipped: tuple[str, ...] = ()
    """A sentence on each real image that cannot be used."""
    download_gigabytes: float | None = 0.0
    """What is not on disk; None if that is not known."""


@dataclass(frozen=True)
class ImportReport:
    """The images that were imported from a folder of the original DALDA code."""

    out: Path
    images: int
    """Images in the folder that its table names."""
    kept: int
    dropped_for: Mapping[str, int]
    """Dropped images by reason."""
    skipped: tuple[str, ...]
    """A sentence on each image that could not be read."""
    rows_without_image: int
    images_without_row: int


@dataclass(frozen=True)
class ReviewReport:
    """The state of a review."""

    out: Path
    images: int
    kept: int
    rejected: int


@dataclass(frozen=True)
class NearDuplicate:
    """A synthetic image that nearly equals a real one."""

    file: Path
    nearest: Path
    cosine: float


@dataclass(frozen=True)
class OffClassImage:
    """A synthetic image in which CLIP sees another class than its label."""

    file: Path
    label: str
    predicted: str


@dataclass(frozen=True)
class EvaluateReport:
    """The quality of a synthetic set, measured without training."""

    backbone: str
    overall: "SetMeasures"
    classes: Mapping[str, "SetMeasures"]
    near_duplicates: tuple[NearDuplicate, ...]
    off_class: tuple[OffClassImage, ...]
    rejected_in_review: int


@dataclass(frozen=True)
class TrainReport:
    """The verdicts, the numbers of each arm, and each other arm against `real`."""

    classes: tuple[str, ...]
    arms: Mapping[str, ArmSummary]
    gains: Mapping[str, Comparison]
    answer: Answer
    excluded: Mapping[str, Mapping[str, int]]
    """Synthetic images that an arm did not use, by reason."""
    validation_images: int
    out: Path | None

    @property
    def verdicts(self) -> dict[str, str]:
        """A sentence on each arm with synthetic images, against the strongest baseline."""
        return {arm: verdict.sentence for arm, verdict in self.answer.verdicts.items()}


@dataclass(frozen=True)
class ClassifierExport:
    """A classifier as an ONNX file."""

    out: Path
    arm: str
    seed: int
    classes: int
    size: int
    """Side in pixels of the square images that it reads."""
    largest_difference: float
    """Of a probability, between the file in onnxruntime and the classifier in torch."""


@dataclass(frozen=True)
class StudyReport:
    """What a run of a study did, and what its trials show so far."""

    out: Path
    trials: int
    trained: int
    generated: int
    seconds: float
    arms: Mapping[str, ArmNumbers]
    """Accuracies by shots (`all` is no limit), and gains over the real arm, if there is one."""
    answer: Answer
    """Averaged over the numbers of shots."""
    excluded: Mapping[str, Mapping[str, int]]
    """Synthetic images that an arm did not use, by reason, over all shots and seeds."""

    @property
    def verdicts(self) -> dict[str, str]:
        """A sentence on each arm with synthetic images, against the strongest baseline."""
        return {arm: verdict.sentence for arm, verdict in self.answer.verdicts.items()}


@dataclass(frozen=True)
class StudyDryRun:
    """What a run of a study would do."""

    out: Path
    arms: tuple[str, ...]
    trials: int
    missing_trials: int
    synthetic_sets: int
    images: int
    missing_images: int
    fitting_seconds: float | None
    """Of tokens and LoRAs that are not learned yet, by a step of each kind of training."""
    generating_seconds: float | None
    """Measured on one small batch of each model, extrapolated; None if a model could not be tried."""
    training_seconds: float | None
    megabytes: float


@dataclass(frozen=True)
class DemoReport:
    """The effect of synthetic images on a classifier in the embedded world."""

    verdict: str
    arms: Mapping[str, Interval]
    groups: Mapping[str, Mapping[str, float]]
    """Mean accuracy per arm on the known and on the unknown classes."""
    gain: Interval
    """Of `dalda` against the strongest baseline."""
    answer: Answer
    comparisons: tuple[str, ...]
    problem: str
    figure: Path
    sheet: Path
    report: Path
    images: int
    """Images that this run generated."""
    seconds: float


@dataclass
class ExportReport:
    """How many images were exported."""

    out: Path
    to: str
    synthetic: int
    real: int
    rejected: int
    linked: int = 0
    copied: int = 0
    files: list[str] = field(default_factory=list)
    """What to read first, relative to `out`."""


@dataclass(frozen=True)
class PageReport:
    """The contents of an HTML report."""

    path: Path
    headline: str
    warnings: tuple[str, ...]
    trials: int
    sets: int
    images: int
    """Images of the sets that the page shows."""
    shown: int
    rejected: int
    megabytes: float
    seconds: float
