"""DALDA: captions for diversity, an image prompt for fidelity, balanced for each image by CLIP.

Jung et al., "DALDA: Data Augmentation Leveraging Diffusion Model and LLM with Adaptive Guidance Scaling",
arXiv 2409.16949. The captions come from the caption file (an LLM's, in the paper); the IP-Adapter scale of
each image is drawn by adaptive guidance scaling (section 3.2), or by a baseline's policy.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from dalda.config.augment import BY_PROBABILITY
from dalda.methods.base import Captions, Method, MethodOptions, Prepared, Tools, requests_per_image
from dalda.methods.scale_policy import SHUFFLED, Sampling, in_similarity, policy_named, shuffled
from dalda.types import Capability, FewShotSplit, GenerationRequest


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


class Dalda(Method):
    """The paper's method."""

    name = "dalda"
    paper = "arXiv 2409.16949"
    Options = DaldaOptions
    needs = frozenset({Capability.IMAGE_PROMPT})

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
        requests = requests_per_image(
            split,
            captions,
            prepared,
            seed,
            lambda source, generator: policy(source.clip_probability, source.shots, generator())._asdict(),
        )
        return iter(shuffled(requests)) if options.ip_adapter_scale == SHUFFLED else requests
