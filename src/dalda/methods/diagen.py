"""DIAGen: the tokens of DA-Fusion with noise on their embeddings, in the captions of a language model.

Lingenberg et al., "DIAGen: Diverse Image Augmentation with Generative Models", arXiv 2408.14584. Images are
weighted by a classifier of real images alone (`--classifier-weighting`), whose temperature cross-validation
on them finds. Left out: its five augmented views of each synthetic image.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from dalda.datasets.class_names import class_wordings
from dalda.methods.base import (
    Captions,
    ListFromText,
    Prepared,
    Strengths,
    UsageDefaults,
    requests_per_image,
)
from dalda.methods.da_fusion import DaFusion, DaFusionOptions
from dalda.models.concepts import PLACEHOLDER, Concept
from dalda.types import FewShotSplit, GenerationRequest


class DiagenOptions(DaFusionOptions):
    """The settings of the authors' scripts."""

    noise: Annotated[tuple[Annotated[float, Field(ge=0)], ...], ListFromText] = (0.005, 0.01, 0.025)
    """Standard deviations of the noise; images take the clean token and each noisy one in turn."""
    strengths: Strengths = (0.7,)
    guidance_scale: float = Field(default=15.0, gt=0)


class Diagen(DaFusion):
    """Token noise, captions around the token, and weights."""

    name = "diagen"
    paper = "arXiv 2408.14584"
    Options = DiagenOptions
    defaults = UsageDefaults(synthetic_probability=0.7, classifier_weighting=True)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        wordings = class_wordings(split)
        plain = replace(prepared, common=replace(prepared.common, prompt_prefix=""))
        worded = requests_per_image(split, captions, plain, seed)
        levels = (0.0, *prepared.options.noise)
        for request, caption in zip(super().requests(split, captions, prepared, seed), worded, strict=True):
            number = request.index % len(levels)
            clean = prepared.state.tokens[request.label]
            token = replace(clean, noise=levels[number], noise_seed=seed + number)
            prompt = around_token(caption.prompt, wordings[request.label])
            yield replace(request, concept=str(Concept(token)), prompt=prompt)


def around_token(caption: str, wording: str) -> str:
    """The caption with the token in place of the class's wording, or before it where that is not in it."""
    if wording in caption:
        return caption.replace(wording, PLACEHOLDER)
    return f"a photo of a {PLACEHOLDER}, {caption}"
