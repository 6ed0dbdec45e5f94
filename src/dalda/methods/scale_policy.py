"""How the IP-Adapter scale (lambda in the paper) of each image is drawn.

Adaptive guidance scaling (AGS, arXiv 2409.16949): a source image in which CLIP does not recognise its
class gets a high scale and is followed closely; one that it recognises leaves more to the caption.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from dalda.config.augment import BY_PROBABILITY
from dalda.errors import UserError
from dalda.methods.similarity_curve import SimilarityCurve
from dalda.terminal import did_you_mean
from dalda.types import GenerationRequest

THRESHOLD = 0.3
"""CLIP class probability up to which the image is followed."""
SHUFFLED = "shuffled"
IMAGE_BOUNDS = (0.7, 0.9)
TEXT_BOUNDS = (0.1, 0.4)
MAX_SCALE = 1.0
"""IP-Adapter was trained with a scale of 1."""
Sampling = Literal["truncated", "clipped"]


class ScaleDraw(NamedTuple):
    """An IP-Adapter scale, and the mean of the distribution it was drawn from; None without one."""

    ip_adapter_scale: float
    ip_adapter_scale_mean: float | None = None
    drawn_similarity: float | None = None
    """What was drawn, where that was a similarity (`in_similarity`)."""


class ScaleDistribution(NamedTuple):
    """The normal distribution of a source image's scale, and the bounds of its values."""

    low: float
    high: float
    mean: float
    sigma: float


Policy = Callable[[float | None, int, np.random.Generator], ScaleDraw]
"""(CLIP class probability, shots of the class, random generator) -> scale."""


@lru_cache(maxsize=1024)
def adaptive_distribution(
    clip_probability: float, shots: int, max_scale: float = MAX_SCALE
) -> ScaleDistribution:
    """AGS for a source image with this CLIP class probability, in a class of `shots` real images."""
    if clip_probability <= THRESHOLD:
        low, top = IMAGE_BOUNDS
        high = top
    else:
        low, top = TEXT_BOUNDS
        high = top + 0.1 * math.sqrt(shots)
    mean = low + (top - low) * (1 - clip_probability)
    low, high = min(low, max_scale), min(high, max_scale)
    return ScaleDistribution(low, high, mean, 0.05 * shots)


def draw_clipped(distribution: ScaleDistribution, generator: np.random.Generator) -> float:
    """The draw of the paper's code: a normal clamped to the bounds, on which many draws then fall."""
    return _within(distribution, generator.normal(distribution.mean, distribution.sigma))


def draw_truncated(distribution: ScaleDistribution, generator: np.random.Generator) -> float:
    """The paper's draw: the normal truncated to the bounds, by inverting its distribution function."""
    _, ndtri = _normal()
    below, above = _quantiles(distribution)
    quantile = ndtri(below + generator.random() * (above - below))
    return _within(distribution, distribution.mean + distribution.sigma * quantile)


@lru_cache(maxsize=1024)
def _quantiles(distribution: ScaleDistribution) -> tuple[float, float]:
    """Between which quantiles of the normal the bounds lie: the same for all images of a source."""
    ndtr, _ = _normal()
    low, high, mean, sigma = distribution
    return ndtr((low - mean) / sigma), ndtr((high - mean) / sigma)


@cache
def _normal() -> tuple[Any, Any]:
    """The distribution function of the normal and its inverse; scipy is not imported for help texts."""
    from scipy.special import ndtr, ndtri

    return ndtr, ndtri


def _within(distribution: ScaleDistribution, value: float) -> float:
    return float(min(max(value, distribution.low), distribution.high))


def adaptive(sampling: str = "truncated", max_scale: float = MAX_SCALE) -> Policy:
    """AGS, drawing from the truncated normal (the paper) or the clipped one."""
    if sampling not in get_args(Sampling):
        raise UserError(
            f"there is no scale sampling '{sampling}'; choose one of {', '.join(get_args(Sampling))}"
        )
    draw = draw_clipped if sampling == "clipped" else draw_truncated

    def policy(clip_probability: float | None, shots: int, generator: np.random.Generator) -> ScaleDraw:
        if clip_probability is None:
            raise ValueError("adaptive guidance scaling needs a CLIP class probability")
        distribution = adaptive_distribution(clip_probability, shots, max_scale)
        return ScaleDraw(draw(distribution, generator), distribution.mean)

    return policy


def uniform(max_scale: float = MAX_SCALE) -> Policy:
    """The paper's baseline `uniform`: any scale from 0 to 1, whatever the class probability."""
    return lambda clip_probability, shots, generator: ScaleDraw(min(1.0, max_scale) * generator.random())


def fixed(ip_adapter_scale: float, max_scale: float = MAX_SCALE) -> Policy:
    """The same scale for every image; 0 is text only."""
    if not 0 <= ip_adapter_scale <= max_scale:
        raise UserError(
            f"a fixed IP-Adapter scale must lie between 0 and {max_scale:g}, not at {ip_adapter_scale}"
        )
    return lambda clip_probability, shots, generator: ScaleDraw(ip_adapter_scale)


def in_similarity(policy: Policy, curve: SimilarityCurve) -> Policy:
    """The same draws, taken as shares of the similarity that a model's scales reach."""

    def draw(clip_probability: float | None, shots: int, generator: np.random.Generator) -> ScaleDraw:
        share, mean, _ = policy(clip_probability, shots, generator)
        scale_mean = None if mean is None else curve.scale_for(mean)
        return ScaleDraw(curve.scale_for(share), scale_mean, share)

    return draw


def shuffled(requests: Iterable[GenerationRequest]) -> list[GenerationRequest]:
    """The same requests with the same scales, each dealt to another image: does it matter which gets which?

    One round for each index, so that more images per source change none of the others. The order of the
    seeds, which are random numbers of their own, decides who gets whose.
    """
    dealt = list(requests)
    for index in {request.index for request in dealt}:
        places = [place for place, request in enumerate(dealt) if request.index == index]
        places.sort(key=lambda place: dealt[place].seed)
        round_ = [dealt[place] for place in places]
        for place, own, other in zip(places, round_, [*round_[1:], round_[0]], strict=True):
            dealt[place] = replace(own, **{name: getattr(other, name) for name in ScaleDraw._fields})
    return dealt


def policy_named(policy: str, sampling: str = "truncated", max_scale: float = MAX_SCALE) -> Policy:
    """`adaptive`, `uniform` or a number, as the user writes it; of `shuffled`, what is then shuffled.

    Raises UserError for anything else.
    """
    if policy in BY_PROBABILITY:
        return adaptive(sampling, max_scale)
    if policy == "uniform":
        return uniform(max_scale)
    try:
        value = float(policy)
    except ValueError:
        raise UserError(
            f"there is no IP-Adapter scale policy '{policy}'; write adaptive, uniform, shuffled or "
            f"a number from 0 to 1{did_you_mean(policy, ('adaptive', 'uniform', 'shuffled'))}"
        ) from None
    return fixed(value, max_scale)
