"""DALDA: captions for diversity, an image prompt for fidelity, balanced for each image by CLIP.

Jung et al., "DALDA: Data Augmentation Leveraging Diffusion Model and LLM with Adaptive Guidance Scaling",
arXiv 2409.16949. The captions come from the caption file (an LLM's, in the paper); the IP-Adapter scale of
each image is drawn by adaptive guidance scaling (section 3.2), or by a baseline's policy.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, Literal

import numpy as np
from pydantic import Field

from dalda.config.augment import BY_PROBABILITY
from dalda.errors import UserError
from dalda.methods.base import (
    Captions,
    Method,
    MethodOptions,
    Prepared,
    SourceImage,
    Tools,
    images_by_class,
    requests_per_image,
)
from dalda.methods.scale_policy import SHUFFLED, Sampling, in_similarity, policy_named, shuffled
from dalda.types import Capability, FewShotSplit, GenerationRequest, RealImage


class DaldaOptions(MethodOptions):
    """How the IP-Adapter scale (lambda in the paper) is chosen; a high scale follows the image."""

    ip_adapter_scale: str = "adaptive"
    """`adaptive`, `uniform`, `shuffled`, or a number for all images."""
    scale_sampling: Sampling = "truncated"
    """How `adaptive` draws: from a truncated normal (the paper) or a clipped one."""
    scale_unit: Literal["raw", "similarity"] = "raw"
    """What is drawn: the scale itself, or a similarity, turned into one by `dalda calibrate`'s curve."""
    max_scale: float = Field(default=1.0, gt=0)
    """No scale is above it. The paper's bound for many shots, 0.4 + 0.1 sqrt(shots), exceeds 1 at 37."""
    image_prompts: int = Field(default=1, ge=1, le=16)
    """Real images of the class that guide each image together, under one scale: its source, and others
    drawn at random. A class with fewer repeats them."""
    image_prompt_merging: Literal["tokens", "mean"] = "tokens"
    """The attention reads all `tokens` of several image prompts, or the `mean` of them."""


class Dalda(Method):
    """The paper's method."""

    name = "dalda"
    paper = "arXiv 2409.16949"
    Options = DaldaOptions
    needs = frozenset({Capability.IMAGE_PROMPT})

    def needs_with(self, options: DaldaOptions) -> frozenset[Capability]:
        several = {Capability.SEVERAL_IMAGE_PROMPTS} if options.image_prompts > 1 else set()
        if several and options.image_prompt_merging == "mean":
            several.add(Capability.AVERAGED_IMAGE_PROMPTS)
        return self.needs | several

    def prepare(self, split: FewShotSplit, options: DaldaOptions, tools: Tools) -> Prepared:
        adaptive = options.ip_adapter_scale in BY_PROBABILITY
        curve = tools.similarity_curve() if options.scale_unit == "similarity" else None
        probabilities = tools.clip_probabilities() if adaptive else tools.known_probabilities
        return Prepared(tools.common, options, probabilities, curve)

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        options: DaldaOptions = prepared.options
        policy = policy_named(options.ip_adapter_scale, options.scale_sampling, options.max_scale)
        if prepared.state is not None:
            policy = in_similarity(policy, prepared.state)
        of_class = images_by_class(split)
        if options.image_prompts > 1 and max(map(len, of_class.values()), default=2) < 2:
            raise UserError(
                f"image_prompts={options.image_prompts} needs several real images of a class, and "
                "each class has one; leave it out, or give more with --shots"
            )

        def decide(source: SourceImage, generator: Callable[[], np.random.Generator]) -> dict[str, Any]:
            draws = generator()
            scale = policy(source.clip_probability, source.shots, draws)
            return scale._asdict() | _more_image_prompts(
                source.image, of_class[source.image.label], options, draws
            )

        requests = requests_per_image(split, captions, prepared, seed, decide)
        return iter(shuffled(requests)) if options.ip_adapter_scale == SHUFFLED else requests


def _more_image_prompts(
    source: RealImage, images: Sequence[RealImage], options: DaldaOptions, draws: np.random.Generator
) -> dict[str, Any]:
    """Further real images of the source's class, in a random order, cycled if they are few."""
    if options.image_prompts == 1:
        return {}
    others = [image for image in images if image != source]
    order = [others[place] for place in draws.permutation(len(others))]
    chosen = list(islice(cycle([*order, source]), options.image_prompts - 1))
    return {
        "more_sources": tuple(image.path for image in chosen),
        "more_source_sha256s": tuple(image.sha256 for image in chosen),
        "image_prompt_merging": options.image_prompt_merging,
    }
