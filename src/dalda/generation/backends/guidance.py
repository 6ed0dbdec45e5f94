"""Classifier-free guidance as a chain of branches, each with one condition more than the one before it."""

from collections.abc import Sequence

from torch import Tensor

from dalda.types import GenerationRequest


def guide(branches: Sequence[Tensor], scales: Sequence[float]) -> Tensor:
    """The guided prediction: e_0 + sum over k of s_k (e_k - e_(k-1)).

    Two branches are classifier-free guidance (arXiv 2207.12598); three with (image, prompt) are
    InstructPix2Pix (arXiv 2211.09800, equation 3); four with (prompt, image, second image) are DIPSY
    (arXiv 2509.22635).
    """
    guided = branches[0]
    for scale, previous, branch in zip(scales, branches, branches[1:], strict=False):
        guided = guided + scale * (branch - previous)
    return guided


def guidance_scales(request: GenerationRequest) -> tuple[float, ...]:
    """The scale of each step of the chain, in its order."""
    if request.image_guidance_scale is None:
        return (request.guidance_scale,)
    if request.second_image_guidance_scale is None:
        return request.image_guidance_scale, request.guidance_scale
    return request.guidance_scale, request.image_guidance_scale, request.second_image_guidance_scale
