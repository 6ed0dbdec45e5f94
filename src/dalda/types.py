"""The nouns. They import nothing and know nothing of how they are made."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class RealImage:
    """One real image of a data set."""

    path: Path
    label: str
    sha256: str
    """Of the file's bytes: what the image is, wherever it lies. Empty for one that could not be read."""


@dataclass(frozen=True)
class FewShotSplit:
    """The examples of one (data set, part, seed, shots), in the order of the split rule."""

    dataset: str
    root: Path
    part: str
    seed: int
    shots: int | None
    """Examples per class; None is all of them."""
    classes: tuple[str, ...]
    images: tuple[RealImage, ...]


@dataclass(frozen=True)
class ScaleDraw:
    """An image prompt's weight lambda, and the mean it was drawn around, None where there is none."""

    ip_adapter_scale: float
    mean: float | None


@dataclass(frozen=True)
class GenerationRequest:
    """All that is needed to make one synthetic image, decided before any is made."""

    source: Path
    source_sha256: str
    label: str
    repeat: int
    method: str
    model: str
    prompt: str
    negative_prompt: str
    ip_adapter_scale: float
    ip_adapter_scale_mean: float | None
    source_clip_probability: float | None
    guidance_scale: float
    strength: float | None
    steps: int
    seed: int

    @cached_property
    def id(self) -> str:
        """A hash of what decides the pixels: not of paths, of batch size or of device."""
        inputs = [
            self.source_sha256,
            self.label,
            self.repeat,
            self.method,
            self.model,
            self.prompt,
            self.negative_prompt,
            self.ip_adapter_scale,
            self.guidance_scale,
            self.strength,
            self.steps,
            self.seed,
        ]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class GenerationPlan:
    """The requests of one synthetic set, in the order of the split and of the repeats."""

    requests: tuple[GenerationRequest, ...]


@dataclass(frozen=True)
class SyntheticImage:
    """A finished request."""

    path: Path
    label: str
    source: Path
    source_sha256: str
    repeat: int
    request_id: str
    prompt: str
    ip_adapter_scale: float
    source_clip_probability: float | None


@dataclass(frozen=True)
class Interval:
    """A mean share with its 95 % confidence interval; a single value has no bounds (None)."""

    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def text(self, sign: str = "") -> str:
        """In percent or points: `57.4 (51.0 to 63.8)`; `sign` is "+" for differences."""
        mean = f"{self.mean * 100:{sign}.1f}"
        if self.low is None or self.high is None:
            return mean
        return f"{mean} ({self.low * 100:{sign}.1f} to {self.high * 100:{sign}.1f})"


@dataclass(frozen=True)
class TrialResult:
    """The numbers of one trial: one classifier, trained once."""

    dataset: str
    arm: str
    seed: int
    shots: int | None
    classes: tuple[str, ...]
    accuracy: float
    """Share of all validation images that were correctly classified, after the last epoch."""
    class_accuracy: tuple[float, ...]
    """The same share per class, in the order of `classes`."""
    loss: float
    real_images: int
    synthetic_images: int
    right: tuple[bool, ...]
    """Whether each validation image, in the split's order, was correctly classified."""
    calibration_error: float | None = None
    """Expected calibration error over 15 bins of confidence."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Validation images by true class (outer) and by the class that was seen (inner)."""
    epoch_accuracy: tuple[float, ...] = ()
    """Accuracy after each epoch; the last is `accuracy`."""
    images: tuple[str, ...] = ()
    """How each validation image's hash begins, in the order of `right`; empty where it is not known."""


def as_dict(
    record: RealImage | FewShotSplit | GenerationRequest | SyntheticImage | TrialResult,
) -> dict[str, object]:
    """A record's fields as plain JSON values; paths become POSIX strings."""
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, tuple):
        return [as_dict(item) if isinstance(item, RealImage) else _plain(item) for item in value]
    return value
