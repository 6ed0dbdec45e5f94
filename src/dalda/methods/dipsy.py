"""DIPSY: guidance towards an image of the class and away from one of a similar class, without training.

DIPSY, arXiv 2509.22635, after its equation of the guidance and its published settings. Left out: the
geometric augmentation of the image prompts, the general word in the prompt ("pet"), and the classifier,
which is DataDream's. `ip_adapter_scale=adaptive` combines it with DALDA's adaptive guidance scaling.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from dalda.config.augment import BY_PROBABILITY
from dalda.datasets.class_names import class_wordings
from dalda.errors import UserError
from dalda.methods.base import (
    Captions,
    Method,
    MethodOptions,
    Prepared,
    Tools,
    images_by_class,
    requests_per_image,
)
from dalda.methods.scale_policy import SHUFFLED, policy_named, shuffled
from dalda.types import Capability, FewShotSplit, GenerationRequest, RealImage

DIGITS = 4
"""Of a class's probability: the last digits of CLIP features differ from one machine to the next."""


class DipsyOptions(MethodOptions):
    """The settings of the paper's code."""

    guidance_scale: float = Field(default=7.5, gt=1)
    steps: int = Field(default=50, ge=1)
    positive_scale: float = 6.0
    """Guidance towards the source image."""
    negative_scale: float = -6.0
    """Guidance by an image of a similar class; below 0 it leads away."""
    ip_adapter_scale: str = "0.6"
    """Of both image prompts: a number, `adaptive`, `uniform` or `shuffled`."""
    temperature: float = Field(default=0.4, gt=0)
    """Of the choice of the similar class; a low one takes the most similar."""

    @field_validator("ip_adapter_scale", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value


def negative_probabilities(
    features: NDArray[np.floating[Any]], labels: Sequence[str], classes: Sequence[str], temperature: float
) -> NDArray[np.float64]:
    """How often each class is the negative of each, [classes, classes], from CLIP features [images, d].

    A softmax over the cosines of the classes' mean features, divided by the temperature; the class itself
    is never chosen.
    """
    names = np.asarray(labels)
    means = np.stack([features[names == name].mean(0, dtype=np.float64) for name in classes])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    exponents = means @ means.T / temperature
    weights = np.exp(exponents - exponents.max(1, keepdims=True))
    np.fill_diagonal(weights, 0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float64).round(DIGITS)


class Dipsy(Method):
    """A positive and a negative image prompt."""

    name = "dipsy"
    paper = "arXiv 2509.22635"
    Options = DipsyOptions
    needs = frozenset({Capability.IMAGE_PROMPT, Capability.SECOND_IMAGE_PROMPT})

    def prepare(self, split: FewShotSplit, options: DipsyOptions, tools: Tools) -> Prepared:
        labels = [image.label for image in split.images]
        classes = sorted(set(labels))
        if len(classes) < 2:
            raise UserError(
                "the method dipsy leads away from a similar class and needs two classes with images; "
                "choose another with --method"
            )
        adaptive = options.ip_adapter_scale in BY_PROBABILITY
        probabilities = tools.clip_probabilities() if adaptive else tools.known_probabilities
        chances = negative_probabilities(tools.clip_features(), labels, classes, options.temperature)
        return Prepared(tools.common, options, probabilities, (classes, chances))

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        options: DipsyOptions = prepared.options
        policy = policy_named(options.ip_adapter_scale, "truncated")
        wordings = class_wordings(split)
        negative_for = _negatives(images_by_class(split), *prepared.state)

        def decide(source: Any, generator: Callable[[], np.random.Generator]) -> dict[str, Any]:
            draws = generator()
            scale = policy(source.clip_probability, source.shots, draws)
            negative = negative_for(source.image.label, draws)
            return {
                **scale._asdict(),
                "prompt": f"A photo of a {wordings[source.image.label]}",
                "negative_prompt": "",
                "second_source": negative.path,
                "second_source_sha256": negative.sha256,
                "image_guidance_scale": options.positive_scale,
                "second_image_guidance_scale": options.negative_scale,
            }

        requests = requests_per_image(split, None, prepared, seed, decide)
        return iter(shuffled(requests)) if options.ip_adapter_scale == SHUFFLED else requests


def _negatives(
    of_class: Mapping[str, Sequence[RealImage]], classes: Sequence[str], chances: NDArray[np.float64]
) -> Callable[[str, np.random.Generator], RealImage]:
    """Draws a real image of a similar class, for a class."""
    places = {name: place for place, name in enumerate(classes)}

    def draw(label: str, generator: np.random.Generator) -> RealImage:
        reached = np.cumsum(chances[places[label]])
        chosen = of_class[classes[int(np.searchsorted(reached, generator.random() * reached[-1], "right"))]]
        return chosen[int(generator.integers(len(chosen)))]

    return draw
