"""The data types that all packages share. This module imports nothing of dalda."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class RealImage:
    """One real image of a data set."""

    path: Path
    label: str
    sha256: str
    """Of the file's bytes: what the image is, wherever it lies. Empty for one that could not be read."""


@dataclass(frozen=True)
class FewShotSplit:
    """The real images of one (data set, part, seed, shots), in the order of the split rule."""

    dataset: str
    root: Path
    part: str
    seed: int
    shots: int | None
    """Real images per class; None is all of them."""
    classes: tuple[str, ...]
    images: tuple[RealImage, ...]


ZERO_SHOT, REAL, REAL_LINEAR, REAL_AUGMENTED = "zero-shot", "real", "real-linear", "real-augmented"
SCRATCH = "scratch"
"""The backbone that is trained from nothing."""
BASELINES = (ZERO_SHOT, REAL, REAL_LINEAR, REAL_AUGMENTED)
"""The arms without synthetic images: class names alone; real images with the head of all arms, with the
paper's linear head, and under the best classical augmentation."""


class Capability(StrEnum):
    """What a method may need of an image generator beside a prompt."""

    IMAGE_PROMPT = "image-prompt"
    """An image prompt with an IP-Adapter scale of its own per image."""
    INIT_IMAGE = "init-image"
    """Image-to-image from the source image, with a strength of its own per image."""
    CONCEPTS = "concepts"
    """A learned concept, such as a textual inversion or a LoRA, per image."""
    SECOND_IMAGE_PROMPT = "second-image-prompt"
    SEVERAL_IMAGE_PROMPTS = "several-image-prompts"
    """More than one real image as image prompts of one image, all their tokens together."""
    AVERAGED_IMAGE_PROMPTS = "averaged-image-prompts"
    """The mean of the tokens of several image prompts."""
    INPAINTING = "inpainting"
    """Regenerating a part of the source image, by a mask of its own per image."""
    EDIT = "edit"
    """Editing of the source image by instruction."""


_NOT_IN_ID = {"in_id": False}
"""Of fields that are recorded with the image but decide no pixel."""
_SELDOM = {"seldom": True}
"""Of fields that are recorded only where they are not the default."""


@dataclass(frozen=True)
class GenerationRequest:
    """Everything about one synthetic image that its method decides, before any image is generated."""

    source: Path = field(metadata=_NOT_IN_ID)
    """The source image: the real image that this one is generated from."""
    source_sha256: str
    label: str
    index: int
    """Number of this image among those of its source, from 0."""
    seed: int
    """Of the noise."""
    prompt: str
    guidance_scale: float
    """Of classifier-free guidance."""
    steps: int
    """Denoising steps."""
    negative_prompt: str = ""
    method: str = "dalda"
    generator: str = ""
    """Digest of the generator's fingerprint; the plan fills it in."""
    ip_adapter_scale: float = 0.0
    """Scale of the image prompt; 0 is no image prompt."""
    ip_adapter_scale_mean: float | None = field(default=None, metadata=_NOT_IN_ID)
    drawn_similarity: float | None = field(default=None, metadata=_SELDOM | _NOT_IN_ID)
    """The similarity to the source where that was drawn: a share, from 0 to 1, of what scales reach."""
    source_clip_probability: float | None = field(default=None, metadata=_NOT_IN_ID)
    strength: float | None = None
    """Share of the steps that image-to-image runs from the source image; None starts from noise."""
    concept: str | None = None
    """Hash of a learned concept."""
    soft_label: tuple[tuple[str, float], ...] = ()
    """Classes with their shares, where the label is not one class alone."""
    source_label: str = field(default="", metadata=_SELDOM)
    """Class of the source image, where it is not `label`."""
    second_source: Path | None = field(default=None, metadata=_SELDOM | _NOT_IN_ID)
    """Another real image, for a second image prompt or to mix with."""
    second_source_sha256: str = field(default="", metadata=_SELDOM)
    more_sources: tuple[Path, ...] = field(default=(), metadata=_SELDOM | _NOT_IN_ID)
    """Further real images that are image prompts beside the source, under its scale."""
    more_source_sha256s: tuple[str, ...] = field(default=(), metadata=_SELDOM)
    image_prompt_merging: str = field(default="tokens", metadata=_SELDOM)
    """Of several image prompts: all their `tokens`, or the `mean` of them."""
    image_guidance_scale: float | None = field(default=None, metadata=_SELDOM)
    """Guidance of the image prompt, or of the image that is edited, beside that of the prompt."""
    second_image_guidance_scale: float | None = field(default=None, metadata=_SELDOM)
    """The same of the second image prompt; a negative one leads away from it."""
    size: int | str = field(default="model", metadata=_SELDOM)
    """Of the image: `model` is the source's shape within the model's square, `source` the source's own
    size, a number the longer side in pixels."""
    overlay: float | None = field(default=None, metadata=_SELDOM)
    """Share of what the method lays over the generated image."""
    mask: Path | None = field(default=None, metadata=_SELDOM | _NOT_IN_ID)
    """Of the object in the source image, which alone is regenerated; black is the background."""
    mask_sha256: str = field(default="", metadata=_SELDOM)
    mask_growth: float = field(default=0.0, metadata=_SELDOM)
    """Side of the square window by whose maximum the mask is grown, as a share of the image's side."""
    mask_inverted: bool = field(default=False, metadata=_SELDOM)
    """Whether the background is regenerated, and the object is kept."""

    @cached_property
    def id(self) -> str:
        """Hash of everything that decides the pixels: of no path, batch size or device.

        Fields that have their defaults are omitted, so that a new field changes no id.
        """
        values = self.__dict__
        content = {name: values[name] for name, default in _ID_FIELDS if values[name] != default}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]

    def variant(self, fields: Mapping[str, Any]) -> Self:
        """The same request with these fields: `dataclasses.replace` in a tenth of the time.

        Raises TypeError for a field that requests do not have.
        """
        if not fields.keys() <= _REQUEST_FIELDS:
            raise TypeError(f"requests have no field {', '.join(sorted(fields.keys() - _REQUEST_FIELDS))}")
        request = object.__new__(type(self))
        values = request.__dict__
        values.update(self.__dict__, **fields)
        values.pop("id", None)
        return request

    @property
    def source_files(self) -> list[tuple[Path, str]]:
        """Path and hash of the source image, of a second and all further ones, and last of the mask."""
        second = [(self.second_source, self.second_source_sha256)] if self.second_source else []
        more = zip(self.more_sources, self.more_source_sha256s, strict=True)
        mask = [(self.mask, self.mask_sha256)] if self.mask else []
        return [(self.source, self.source_sha256), *second, *more, *mask]


_REQUEST_FIELDS = {item.name for item in fields(GenerationRequest)}
_ID_FIELDS = sorted(
    (item.name, item.default) for item in fields(GenerationRequest) if item.metadata.get("in_id", True)
)


@dataclass(frozen=True)
class GenerationPlan:
    """The requests of one synthetic set, in the order of the split and of the indices."""

    requests: tuple[GenerationRequest, ...]


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """A finished request."""

    path: Path
    label: str
    source: Path
    source_sha256: str
    index: int
    request_id: str
    prompt: str
    ip_adapter_scale: float
    source_clip_probability: float | None
    soft_label: tuple[tuple[str, float], ...] = ()
    """Classes with their shares, where the label is not one class alone."""
    source_label: str = ""
    """Class of the source image, where it is not `label`."""

    @property
    def source_class(self) -> str:
        return self.source_label or self.label


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


def as_dict(request: GenerationRequest) -> dict[str, object]:
    """A request's fields as plain JSON values; paths become POSIX strings."""
    return {
        item.name: _plain(getattr(request, item.name))
        for item in fields(request)
        if not item.metadata.get("seldom") or getattr(request, item.name) != item.default
    }


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.as_posix()
    if not isinstance(value, tuple):
        return value
    # A soft label: Arrow, which reads the metadata for `datasets`, has no list of a text and a number.
    return [
        {"label": item[0], "share": item[1]} if isinstance(item, tuple) else _plain(item) for item in value
    ]
