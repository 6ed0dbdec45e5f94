"""Diff-Mix and Diff-Aug: image-to-image towards another class, or the own one, with tokens and a LoRA.

Wang et al., "Enhance Image Classification via Inter-Class Image Mixup with Diffusion Model",
arXiv 2403.19600. Tokens of all classes and one LoRA are learned together from all real images. Left out:
training at 224 pixels (it is at the model's own size), the rare word that all tokens begin with (here it is
the class's name), the general word after the token ("bird"), and the filter by "a photo with a bird on it".
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pydantic import Field

from dalda.datasets.class_names import class_wordings
from dalda.errors import UserError
from dalda.methods.base import (
    Captions,
    Method,
    MethodOptions,
    Prepared,
    Strengths,
    Tools,
    UsageDefaults,
    requests_per_image,
)
from dalda.methods.fitting.recipe import Recipe, job_for
from dalda.models.concepts import PLACEHOLDER, Concept, Token
from dalda.types import Capability, FewShotSplit, GenerationRequest


class DiffMixOptions(MethodOptions):
    """The settings of the authors' scripts."""

    fit_steps: int = Field(default=35_000, ge=1)
    rank: int = Field(default=10, ge=1)
    rate: float = Field(default=5e-5, gt=0)
    """Learning rate of the LoRA and of the tokens."""
    fit_batch_size: int = Field(default=8, ge=1)
    """Images per step: 2 on each of 4 GPUs."""
    strengths: Strengths = (0.3, 0.5, 0.7, 0.9)
    gamma: float = Field(default=0.8, gt=0)
    """Of the soft label; a small one gives the target class more."""
    guidance_scale: float = Field(default=7.5, gt=0)
    steps: int = Field(default=25, ge=1)


def soft_label(source: str, target: str, strength: float, gamma: float) -> tuple[tuple[str, float], ...]:
    """y = (1 - s^gamma) e_source + s^gamma e_target; nothing where it is the source class alone."""
    share = strength**gamma
    if source == target:
        return ()
    return tuple((name, part) for name, part in ((source, 1 - share), (target, share)) if part)


class DiffAug(Method):
    """Towards the own class."""

    name = "diff-aug"
    paper = "arXiv 2403.19600"
    Options = DiffMixOptions
    needs = frozenset({Capability.INIT_IMAGE, Capability.CONCEPTS})
    defaults = UsageDefaults(mixing="global-replacement", synthetic_probability=0.1)
    least_classes = 1

    def prepare(self, split: FewShotSplit, options: DiffMixOptions, tools: Tools) -> Prepared:
        classes = sorted({image.label for image in split.images})
        if len(classes) < self.least_classes:
            raise UserError(
                f"the method {self.name} mixes two classes and the data set has images of one; choose "
                "another with --method"
            )
        recipe = Recipe(
            options.fit_steps,
            options.fit_batch_size,
            ("a photo of a {}",),
            vectors=1,
            token_rate=options.rate,
            rank=options.rank,
            lora_rate=options.rate,
        )
        wordings = class_wordings(split)
        job = tools.fit(job_for(recipe, split.images, wordings, tools.model, split.seed))
        return Prepared(tools.common, options, tools.known_probabilities, (job, classes))

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        options: DiffMixOptions = prepared.options
        job, classes = prepared.state

        def decide(source: Any, generator: Callable[[], np.random.Generator]) -> dict[str, Any]:
            draws, own = generator(), source.image.label
            strength = options.strengths[int(draws.integers(len(options.strengths)))]
            targets = self.targets(own, classes)
            target = targets[int(draws.integers(len(targets)))]
            label = soft_label(own, target, strength, options.gamma)
            main = max(label, key=lambda part: part[1])[0] if label else own
            return {
                "strength": strength,
                "prompt": f"a photo of a {PLACEHOLDER}",
                "negative_prompt": "",
                "concept": str(Concept(Token(job, classes.index(target)), ((job, 1.0),))),
                "label": main,
                "source_label": "" if main == own else own,
                "soft_label": label if len(label) > 1 else (),
            }

        return requests_per_image(split, None, prepared, seed, decide)

    def targets(self, own: str, classes: list[str]) -> list[str]:
        """The classes that an image may be led to."""
        return [own]


class DiffMix(DiffAug):
    """Towards another class, with a soft label."""

    name = "diff-mix"
    least_classes = 2

    def targets(self, own: str, classes: list[str]) -> list[str]:
        return [name for name in classes if name != own]
