"""DA-Fusion: image-to-image towards a token that is learned for each class, at a random strength.

Trabucco et al., "Effective Data Augmentation With Diffusion Models", arXiv 2302.07944. The preset
`repo` has the settings of the authors' scripts, `paper` those of their published numbers. With `masks` the
object alone is regenerated, or the background alone. Left out: the erasure of concepts from the model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from dalda.datasets.class_names import class_wordings
from dalda.datasets.masks import Mask, masks_of
from dalda.errors import UserError
from dalda.methods.base import (
    Captions,
    Method,
    MethodOptions,
    Prepared,
    Strengths,
    Tools,
    requests_per_image,
)
from dalda.methods.fitting.recipe import OBJECT_TEMPLATES, Recipe, job_for
from dalda.models.concepts import PLACEHOLDER, Concept, Token
from dalda.storage import path_of
from dalda.types import Capability, FewShotSplit, GenerationRequest

RECIPES = {
    "repo": Recipe(1000, 4, OBJECT_TEMPLATES, vectors=1, initial_token="the", token_rate=4 * 5e-4),
    "paper": Recipe(2000, 8, OBJECT_TEMPLATES, vectors=4, token_rate=8 * 5e-4),
}
"""The rate is 5e-4 times the batch size, as `--scale_lr` makes it."""
MASK_GROWTH = 16 / 512
"""Of masks: the maximum over a window of 16 pixels in an image of 512."""


class DaFusionOptions(MethodOptions):
    """The settings of the authors' scripts."""

    preset: Literal["repo", "paper"] = "repo"
    fit_steps: int | None = Field(default=None, ge=1)
    """Steps of textual inversion for each class; None is the preset's."""
    strengths: Strengths = (1.0, 0.75, 0.5, 0.25)
    guidance_scale: float = Field(default=7.5, gt=0)
    steps: int = Field(default=50, ge=1)
    masks: str | None = None
    """Folder of a mask for each real image, a PNG of the same relative name, black around the object."""
    inpaint: Literal["object", "background"] = "object"
    """What is regenerated where there are masks."""


@dataclass(frozen=True)
class Fitted:
    """What requests are made with: the token of each class, and the mask of each image that has one."""

    tokens: Mapping[str, Token]
    masks: Mapping[Path, Mask]


def tokens_by_class(split: FewShotSplit, recipe: Recipe, tools: Tools) -> dict[str, Token]:
    """A training for each class, of its images alone."""
    wordings = class_wordings(split)
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

    def needs_with(self, options: DaFusionOptions) -> frozenset[Capability]:
        return self.needs | ({Capability.INPAINTING} if options.masks else set())

    def prepare(self, split: FewShotSplit, options: DaFusionOptions, tools: Tools) -> Prepared:
        background = options.inpaint == "background"
        if background and options.masks is None:
            raise UserError(
                f"the option 'inpaint' of the method {self.name} needs masks; name their folder with "
                "--method-option masks=FOLDER"
            )
        masks = {}
        if options.masks is not None:
            masks = masks_of(split, path_of(options.masks).expanduser(), MASK_GROWTH, inverted=background)
        recipe = RECIPES[options.preset]
        recipe = replace(recipe, steps=options.fit_steps or recipe.steps)
        fitted = Fitted(tokens_by_class(split, recipe, tools), masks)
        return Prepared(tools.common, options, tools.known_probabilities, fitted)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        options: DaFusionOptions = prepared.options
        fitted: Fitted = prepared.state

        def decide(source: Any, generator: Callable[[], np.random.Generator]) -> dict[str, Any]:
            strengths = options.strengths
            masked: dict[str, Any] = {}
            if fitted.masks:
                mask = fitted.masks[source.image.path]
                masked = {"mask": mask.path, "mask_sha256": mask.sha256, "mask_growth": MASK_GROWTH}
                masked["mask_inverted"] = options.inpaint == "background"
            return {
                **masked,
                "strength": strengths[int(generator().integers(len(strengths)))],
                "prompt": f"a photo of a {PLACEHOLDER}",
                "negative_prompt": "",
                "concept": str(Concept(fitted.tokens[source.image.label])),
            }

        return requests_per_image(split, None, prepared, seed, decide)
