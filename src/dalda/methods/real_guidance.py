"""Real-Guidance: image-to-image from each source image, with less noise the more real images there are.

He et al., "Is synthetic data from generative models ready for image recognition?", arXiv 2210.07574. Their
code runs the last 50, 40, 35, 20 and 15 of 100 steps for 1, 2, 4, 8 and 16 shots. Left out: GLIDE with its
guidance of 3, sentences by T5, and 800 images of each class, however few pass the filter.
"""

import math
from collections.abc import Iterator

import numpy as np
from pydantic import Field

from dalda.methods.base import Captions, Method, MethodOptions, Prepared, UsageDefaults, requests_per_image
from dalda.types import Capability, FewShotSplit, GenerationRequest

STRENGTH_BY_SHOTS = {1: 0.50, 2: 0.40, 4: 0.35, 8: 0.20, 16: 0.15}


class RealGuidanceOptions(MethodOptions):
    """Options of Real-Guidance."""

    strength: float | None = Field(default=None, gt=0, le=1)
    """Share of the steps that are run from the source image; None follows the shots."""


def strength_for(shots: int) -> float:
    """The paper's strength, interpolated over log2(shots); constant outside of 1 to 16 shots."""
    known = [math.log2(count) for count in STRENGTH_BY_SHOTS]
    return float(np.interp(math.log2(shots), known, list(STRENGTH_BY_SHOTS.values())))


class RealGuidance(Method):
    """Image-to-image from the captions, without an image prompt; real and synthetic losses count alike."""

    name = "real-guidance"
    paper = "arXiv 2210.07574"
    Options = RealGuidanceOptions
    needs = frozenset({Capability.INIT_IMAGE})
    defaults = UsageDefaults(mixing="two-term-loss", clip_filter=1.0)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        fixed = prepared.options.strength
        return requests_per_image(
            split,
            captions,
            prepared,
            seed,
            lambda source, generator: {"strength": fixed or strength_for(source.shots)},
        )
