"""What is learned, from which images, and how long: all that decides an artefact."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal

from dalda.config.roles import digest_of
from dalda.registry import Registry
from dalda.types import RealImage

MOST_STEPS: Registry[int] = Registry()
"""Steps of a training at most, by model, where the user names none: for models that learn in fewer."""

OBJECT_TEMPLATES = (
    "a photo of a {}",
    "a rendering of a {}",
    "a cropped photo of the {}",
    "the photo of a {}",
    "a photo of a clean {}",
    "a photo of a dirty {}",
    "a dark photo of the {}",
    "a photo of my {}",
    "a photo of the cool {}",
    "a close-up photo of a {}",
    "a bright photo of the {}",
    "a cropped photo of a {}",
    "a photo of the {}",
    "a good photo of the {}",
    "a photo of one {}",
    "a close-up photo of the {}",
    "a rendition of the {}",
    "a photo of the clean {}",
    "a rendition of a {}",
    "a photo of a nice {}",
    "a good photo of a {}",
    "a photo of the nice {}",
    "a photo of the small {}",
    "a photo of the weird {}",
    "a photo of the large {}",
    "a photo of a cool {}",
    "a photo of a small {}",
)
"""Of textual inversion (arXiv 2208.01618)."""


@dataclass(frozen=True)
class Recipe:
    """A training of tokens, of a LoRA, or of both."""

    steps: int
    batch_size: int
    templates: tuple[str, ...]
    """Prompts with `{}` for the token, or for the class name where no token is learned."""
    vectors: int = 0
    """Of a token for each class; 0 learns none."""
    initial_token: str = ""
    """The word that a token starts from; empty is the class name."""
    token_rate: float = 0.0
    rank: int = 0
    """Of the LoRA on the attention layers, whose alpha is its rank; 0 learns none."""
    text_encoder: bool = False
    """Whether the LoRA is on the text encoder, too."""
    lora_rate: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    flip: float = 0.5
    """How often an image is mirrored."""
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
        """What the learning rates are multiplied by at a step, from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * done))


def with_fewer_steps(recipe: Recipe, most: int) -> Recipe:
    """At most so many steps, of which as large a share warms up.

    Learning rates rise by the root of what the steps are divided by.
    """
    if recipe.steps <= most:
        return recipe
    factor = math.sqrt(recipe.steps / most)
    return replace(
        recipe,
        steps=most,
        warmup=round(recipe.warmup * most / recipe.steps),
        token_rate=recipe.token_rate * factor,
        lora_rate=recipe.lora_rate * factor,
    )


@dataclass(frozen=True)
class FitJob:
    """One training; its key names the artefact before it exists."""

    recipe: Recipe
    images: tuple[RealImage, ...]
    wordings: tuple[tuple[str, str], ...]
    """Classes with their wordings; a class's place is the number of its token."""
    model: str
    """Digest of the generator's fingerprint."""
    seed: int

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the artefact beyond rounding."""
        images = [[image.label, image.sha256] for image in self.images]
        return digest_of([asdict(self.recipe), images, self.wordings, self.model, self.seed])


def job_for(
    recipe: Recipe, images: Sequence[RealImage], wordings: Mapping[str, str], model: str, seed: int
) -> FitJob:
    """A training on these images, whose order does not matter."""
    ordered = tuple(sorted(images, key=lambda image: (image.label, image.sha256)))
    classes = dict.fromkeys(image.label for image in ordered)
    return FitJob(recipe, ordered, tuple((name, wordings[name]) for name in classes), model, seed)
