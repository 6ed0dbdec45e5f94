"""DataDream: text-to-image with a LoRA that is learned for each class, or for the data set.

Kim et al., "DataDream: Few-shot Guided Dataset Generation", arXiv 2407.10910; with `scope=image` it is LoFT
(arXiv 2505.11703): a LoRA for each image, and two of a class at one half each. Left out: the classifier,
a LoRA on CLIP with mixup and cutmix (`--finetune lora --batch-augment`), and LoFT's crop of the middle.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from dalda.datasets.class_names import class_wordings
from dalda.errors import UserError
from dalda.methods.base import (
    Captions,
    Method,
    MethodOptions,
    Prepared,
    Tools,
    UsageDefaults,
    images_by_class,
    requests_per_image,
)
from dalda.methods.fitting.recipe import Recipe, job_for
from dalda.models.concepts import Concept
from dalda.types import Capability, FewShotSplit, GenerationRequest, RealImage

TEMPLATE = "a photo of a {}"


class DataDreamOptions(MethodOptions):
    """The settings of the authors' scripts; None is what belongs to the scope."""

    scope: Literal["class", "dataset", "image"] = "class"
    """What a LoRA is learned for."""
    rank: int | None = Field(default=None, ge=1)
    """16; for an image 2."""
    rate: float | None = Field(default=None, gt=0)
    """1e-4; for an image 1e-3."""
    epochs: int | None = Field(default=None, ge=1)
    """200; for an image 600."""
    fit_steps: int | None = Field(default=None, ge=1)
    """Steps in place of the epochs."""
    share: float = Field(default=0.5, ge=0, le=1)
    """Of the first of an image's two LoRAs (scope=image)."""
    guidance_scale: float = Field(default=2.0, gt=0)
    steps: int = Field(default=50, ge=1)


def recipe_for(options: DataDreamOptions, images: int) -> Recipe:
    """DataDream: batches of 8, 100 steps of warm-up, the text encoder too; LoFT: of 1, 10, without it."""
    of_image = options.scope == "image"
    batch = 1 if of_image else 8
    epochs = options.epochs or (600 if of_image else 200)
    steps = options.fit_steps or epochs * math.ceil(images / batch)
    return Recipe(
        steps,
        batch,
        (TEMPLATE,),
        rank=options.rank or (2 if of_image else 16),
        lora_rate=options.rate or (1e-3 if of_image else 1e-4),
        text_encoder=not of_image,
        schedule="cosine",
        warmup=min(10 if of_image else 100, steps // 2),
    )


class DataDream(Method):
    """From noise, by the class's name."""

    name = "datadream"
    paper = "arXiv 2407.10910"
    Options = DataDreamOptions
    needs = frozenset({Capability.CONCEPTS})
    defaults = UsageDefaults(mixing="two-term-loss", synthetic_probability=0.2)

    def prepare(self, split: FewShotSplit, options: DataDreamOptions, tools: Tools) -> Prepared:
        wordings = class_wordings(split)

        def learned(images: Sequence[RealImage]) -> str:
            recipe = recipe_for(options, len(images))
            return tools.fit(job_for(recipe, images, wordings, tools.model, split.seed))

        of_class = images_by_class(split)
        if options.scope == "dataset":
            job = learned(split.images)
            jobs = {name: [job] for name in of_class}
        elif options.scope == "class":
            jobs = {name: [learned(images)] for name, images in of_class.items()}
        else:
            alone = [name for name, images in of_class.items() if len(images) < 2]
            if alone and options.share < 1:
                raise UserError(
                    f"the method datadream mixes the LoRAs of two images of a class with scope=image, and "
                    f"'{alone[0]}' has one; use more --shots or another scope"
                )
            jobs = {name: [learned([image]) for image in images] for name, images in of_class.items()}
        return Prepared(tools.common, options, tools.known_probabilities, jobs)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        options: DataDreamOptions = prepared.options
        wordings = class_wordings(split)

        def decide(source: Any, generator: Callable[[], np.random.Generator]) -> dict[str, Any]:
            jobs = prepared.state[source.image.label]
            loras: tuple[tuple[str, float], ...] = ((jobs[0], 1.0),)
            if options.scope == "image" and len(jobs) > 1:
                first, second = generator().permutation(len(jobs))[:2].tolist()
                loras = ((jobs[first], options.share), (jobs[second], 1 - options.share))
            return {
                "prompt": TEMPLATE.format(wordings[source.image.label]),
                "negative_prompt": "",
                "concept": str(Concept(loras=loras)),
            }

        return requests_per_image(split, None, prepared, seed, decide)
