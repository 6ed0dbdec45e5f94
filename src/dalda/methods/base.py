"""An augmentation method: optional fitting, requests, and how a trial uses the images.

A method is a subclass of `Method` with a name. `dalda augment --method NAME` finds the methods of this
package and those that other packages register under the entry point group `dalda.methods`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dalda.config.methods import GROUP, METHODS, method_names
from dalda.errors import UserError
from dalda.methods.fitting.recipe import FitJob
from dalda.methods.similarity_curve import SimilarityCurve, load_curve
from dalda.plugins import load_plugin
from dalda.seeding import generator_of, generators_of, seeds_of
from dalda.terminal import did_you_mean
from dalda.types import Capability, FewShotSplit, GenerationRequest, RealImage

Captions = Mapping[str, Sequence[str]]


def _from_text(value: object) -> object:
    """A list as the command line has it, `0.3,0.7`; a number is a list of one."""
    return value.split(",") if isinstance(value, str) else [value] if isinstance(value, float) else value


ListFromText = BeforeValidator(_from_text)
Strengths = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1), ListFromText]
"""Of image-to-image; one is drawn for each image, all with the same probability."""


class MethodOptions(BaseModel):
    """Options of a method; the defaults are those of its paper.

    Options called `guidance_scale` and `steps` hold wherever the user chooses none for the command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class UsageDefaults:
    """How a trial uses the images unless the user says otherwise, by options of `dalda train`."""

    mixing: str = "per-image-replacement"
    synthetic_probability: float = 0.5
    filter_by_classifier: bool = False
    clip_weighting: bool = False
    classifier_weighting: bool = False
    clip_filter: float | None = None
    """`min_clip_probability` in multiples of chance, which is 1 / classes."""


@dataclass(frozen=True)
class Common:
    """What all requests of a synthetic set share."""

    method: str
    generator: str
    """Digest of the generator's fingerprint."""
    per_image: int
    prompt_prefix: str
    negative_prompt: str
    guidance_scale: float
    steps: int
    size: int | str = "model"


@dataclass(frozen=True)
class Tools:
    """What a method may use while it prepares."""

    common: Common
    clip_probabilities: Callable[[], Sequence[float]]
    """CLIP class probability of each real image of the split; computed once, then kept in the folder."""
    known_probabilities: Sequence[float] | None = None
    """The same where somebody computed them already, and None otherwise."""
    clip_features: Callable[[], NDArray[np.float32]] = lambda: np.zeros((0, 0), np.float32)
    """Unnormalised CLIP features of the real images, [images, d]."""
    fit: Callable[[FitJob], str] = lambda job: job.key
    """Asks for a training, and names its artefact; it is done before the first image, or was earlier."""
    model: str = ""
    """Digest of the model that is trained with, whatever the sampler."""
    similarity_curve: Callable[[], SimilarityCurve] = lambda: load_curve("")
    """What `dalda calibrate` measured of the generator; raises UserError where it did not."""


@dataclass(frozen=True)
class Prepared:
    """What `requests` needs: options, and results of `prepare`."""

    common: Common
    options: Any
    probabilities: Sequence[float] | None = None
    state: Any = None
    """Whatever else the method prepared."""


class SourceImage(NamedTuple):
    """A real image as a method sees it."""

    image: RealImage
    shots: int
    """Real images of its class."""
    clip_probability: float | None


class Method(Protocol):
    """Subclass this, name the method, and implement `requests`; the rest has defaults."""

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    Options: ClassVar[type[BaseModel]] = MethodOptions
    needs: ClassVar[frozenset[Capability]] = frozenset()
    """What the generator must be capable of, whatever the options."""
    defaults: ClassVar[UsageDefaults] = UsageDefaults()

    def needs_with(self, options: Any) -> frozenset[Capability]:
        """What the generator must be capable of with these options."""
        return self.needs

    def prepare(self, split: FewShotSplit, options: Any, tools: Tools) -> Prepared:
        """Fits or computes whatever the requests depend on."""
        return Prepared(tools.common, options, tools.known_probabilities)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        """All requests, in the split's order; a pure function, all randomness is drawn from `seed`."""
        ...

    def finish(
        self, image: Image.Image, request: GenerationRequest, sources: Sequence[Image.Image]
    ) -> Image.Image:
        """The image to keep, from the generated one."""
        return image


Decide = Callable[[SourceImage, Callable[[], np.random.Generator]], Mapping[str, Any]]
"""(source image, random generator of this one request) -> fields of the request."""


def requests_per_image(
    split: FewShotSplit,
    captions: Captions | None,
    prepared: Prepared,
    seed: int,
    decide: Decide = lambda source, generator: {},
) -> Iterator[GenerationRequest]:
    """`per_image` requests for each real image, captions dealt without replacement; None is no captions.

    Raises UserError for a class without captions.
    """
    common = prepared.common
    shots = Counter(image.label for image in split.images)
    earlier: Counter[tuple[str, str]] = Counter()
    probabilities: Sequence[float | None] = prepared.probabilities or [None] * len(split.images)
    for image, probability in zip(split.images, probabilities, strict=True):
        # Two real images with equal bytes still get captions, scales and noise of their own.
        item = (image.label, image.sha256, earlier[image.label, image.sha256])
        earlier[image.label, image.sha256] += 1
        source = SourceImage(image, shots[image.label], probability)
        dealt = _deal(captions, image.label, common.per_image, generator_of(seed, "captions", *item))
        noise, draws = seeds_of(seed, "noise", *item), generators_of(seed, "lambda", *item)
        first = GenerationRequest(
            source=image.path,
            source_sha256=image.sha256,
            label=image.label,
            index=0,
            seed=noise(0),
            prompt=common.prompt_prefix.rstrip(", "),
            negative_prompt=common.negative_prompt,
            guidance_scale=common.guidance_scale,
            steps=common.steps,
            size=common.size,
            method=common.method,
            generator=common.generator,
            source_clip_probability=probability,
        )
        for index, caption in enumerate(dealt):
            own: dict[str, Any] = {"index": index, "seed": noise(index)}
            if caption:
                own["prompt"] = common.prompt_prefix + caption
            own |= decide(source, partial(draws, index))
            yield first.variant(own)


def _deal(captions: Captions | None, label: str, count: int, generator: np.random.Generator) -> list[str]:
    if captions is None:
        return [""] * count
    if not captions.get(label):
        raise UserError(f"the captions hold none for the class '{label}'; write some and run again")
    return draw_captions(captions[label], count, generator)


def images_by_class(split: FewShotSplit) -> dict[str, list[RealImage]]:
    """The real images of each class by their hashes: their order in the data set decides nothing."""
    found: dict[str, list[RealImage]] = {}
    for image in sorted(split.images, key=lambda image: (image.label, image.sha256)):
        found.setdefault(image.label, []).append(image)
    return found


def draw_captions(captions: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """`count` captions without replacement in random order, shuffled again after each full pass."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += [captions[int(index)] for index in generator.permutation(len(captions))]
    return dealt[:count]


def method_named(name: str) -> Method:
    """The method of that name, from this package or an entry point. Raises UserError for an unknown one."""
    if name in METHODS:
        found = resolve_name(METHODS[name])
    elif name in method_names():
        found = load_plugin(GROUP, name)
    else:
        raise UserError(
            f"there is no method '{name}'; choose another with --method: {', '.join(method_names())}"
            f"{did_you_mean(name, method_names())}"
        )
    method: Method = found() if isinstance(found, type) else found
    return method


def method_options(method: Method, values: Mapping[str, Any]) -> Any:
    """The method's options with these values. Raises UserError for an unknown one or a wrong value."""
    known = ", ".join(method.Options.model_fields) or "none"
    for name in values:
        if name not in method.Options.model_fields:
            raise UserError(f"the method {method.name} has no option '{name}'; its options are: {known}")
    try:
        return method.Options(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option, reason = first["loc"][0], first["msg"].removeprefix("Value error, ")
        reason += f": {first['input']!r}" if first["type"].endswith("_parsing") else ""
        raise UserError(f"the option '{option}' of the method {method.name} is wrong: {reason}") from None
