"""DA-Fusion: image-to-image towards a token that is learned for each class, at a random strength.

Trabucco et al., "Effective Data Augmentation With Diffusion Models", arXiv 2302.07944. The preset
`repo` has the settings of the authors' scripts, `paper` those of their published numbers. Left out: masks,
and the erasure of concepts from the model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from dalda.datasets.class_names import wordings_of
from dalda.methods.base import Captions, Method, MethodOptions, Prepared, Tools, requests_per_image
from dalda.methods.fitting.recipe import OBJECT_TEMPLATES, Recipe, job_for
from dalda.models.concepts import PLACEHOLDER, Concept, Token
from dalda.types import Capability, FewShotSplit, GenerationRequest

RECIPES = {
    "repo": Recipe(1000, 4, OBJECT_TEMPLATES, vectors=1, initial_token="the", token_rate=4 * 5e-4),
    "paper": Recipe(2000, 8, OBJECT_TEMPLATES, vectors=4, token_rate=8 * 5e-4),
}
"""The rate is 5e-4 times the batch size, as `--scale_lr` makes it."""


class DaFusionOptions(MethodOptions):
    """The settings of the authors' scripts."""

    preset: Literal["repo", "paper"] = "repo"
    fit_steps: int | None = Field(default=None, ge=1)
    """Steps of textual inversion for each class; None is the preset's."""
    strengths: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)
    """One is drawn for each image, all with the same probability."""
    guidance_scale: float = Field(default=7.5, gt=0)
    steps: int = Field(default=50, ge=1)


def tokens_by_class(split: FewShotSplit, recipe: Recipe, tools: Tools) -> dict[str, Token]:
    """A training for each class, of its images alone."""
    wordings = wordings_of(split.dataset, split.classes, split.root)
    tokens = {}
    for name in dict.fromkeys(image.label for image in split.images):
        own = [image for image in split.images if image.label == name]
        tokens[name] = Token(tools.fit(job_for(recipe, own, wordings, tools.model, split.seed)), 0)
    return tokens


class DaFusion(Method):
    """A learned token for each class."""

    name = "da-fusion"
    paper = "arXiv 2302.07944"
    Options = DaFusionOptions
    needs = frozenset({Capability.INIT_IMAGE, Capability.CONCEPTS})

    def prepare(self, split: FewShotSplit, options: Any, tools: Tools) -> Prepared:
        recipe = RECIPES[options.preset]
        recipe = replace(recipe, steps=options.fit_steps or recipe.steps)
        tokens = tokens_by_class(split, recipe, tools)
        return Prepared(tools.common, options, tools.known_probabilities, tokens)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        tokens: Mapping[str, Token] = prepared.state

        def decide(source: Any, generator: Callable[[], np.random.Generator]) -> dict[str, Any]:
            strengths = prepared.options.strengths
            return {
                "strength": strengths[int(generator().integers(len(strengths)))],
                "prompt": f"a photo of a {PLACEHOLDER}",
                "negative_prompt": "",
                "concept": str(Concept(tokens[source.image.label])),
            }

        return requests_per_image(split, None, prepared, seed, decide)


def noisy(token: Token, noise: float, number: int, seed: int) -> Token:
    """The token with Gaussian noise on its embedding; without noise, the token itself."""
    return Token(**{**asdict(token), "noise": noise, "noise_seed": seed + number}) if noise else token
