"""Lambda, the image prompt's weight: how each policy draws it.

Adaptive guidance scaling (AGS) is DALDA's (arXiv 2409.16949): where CLIP does not recognise the
class in a image, the image is trusted more than its class's name; where it does, less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dalda.errors import UserError
from dalda.types import ScaleDraw

THRESHOLD = 0.3
TRUST_IMAGE = (0.7, 0.9)
TRUST_TEXT = (0.1, 0.4)
SAMPLINGS = ("truncated", "clipped")


@dataclass(frozen=True)
class Spread:
    """The normal distribution of one source image's lambda, and its bounds."""

    low: float
    high: float
    mean: float
    sigma: float


Policy = Callable[[float | None, int, np.random.Generator], ScaleDraw]
"""From an image's CLIP class probability (None when not needed) and its class's shots to its lambda."""


def adaptive_spread(source_clip_probability: float, shots: int) -> Spread:
    """AGS: where lambda lies for a image with this score, in a set of `shots` per class."""
    sigma = 0.05 * shots
    if source_clip_probability <= THRESHOLD:
        low, top = TRUST_IMAGE
        high = top
    else:
        low, top = TRUST_TEXT
        high = top + 0.1 * math.sqrt(shots)
    return Spread(low, high, low + (top - low) * (1 - source_clip_probability), sigma)


def draw_clipped(spread: Spread, rng: np.random.Generator) -> float:
    """The original code's draw: a normal clamped to the bounds, on which many draws then land."""
    return _within(spread, rng.normal(spread.mean, spread.sigma))


def draw_truncated(spread: Spread, rng: np.random.Generator) -> float:
    """The paper's draw: the normal truncated to the bounds, by inverting its distribution."""
    from scipy.special import ndtr, ndtri

    below = ndtr((spread.low - spread.mean) / spread.sigma)
    above = ndtr((spread.high - spread.mean) / spread.sigma)
    quantile = ndtri(below + rng.random() * (above - below))
    return _within(spread, spread.mean + spread.sigma * quantile)


def _within(spread: Spread, value: float) -> float:
    return float(min(max(value, spread.low), spread.high))


def adaptive(sampling: str = "truncated") -> Policy:
    """AGS, drawing from the truncated normal (the paper) or the clipped one (the original code)."""
    if sampling not in SAMPLINGS:
        raise UserError(f"there is no sampling '{sampling}'; choose one of {', '.join(SAMPLINGS)}")
    draw = draw_clipped if sampling == "clipped" else draw_truncated

    def policy(source_clip_probability: float | None, shots: int, rng: np.random.Generator) -> ScaleDraw:
        if source_clip_probability is None:
            raise ValueError("adaptive guidance scaling needs a CLIP class probability")
        spread = adaptive_spread(source_clip_probability, shots)
        return ScaleDraw(draw(spread, rng), spread.mean)

    return policy


def uniform() -> Policy:
    """The paper's baseline `uniform`: any weight from 0 to 1, whatever the score."""
    return lambda source_clip_probability, shots, rng: ScaleDraw(float(rng.random()), None)


def fixed(ip_adapter_scale: float) -> Policy:
    """The same weight for every image; 0 is text only."""
    if not 0 <= ip_adapter_scale <= 1:
        raise UserError(f"a fixed IP-Adapter scale must lie between 0 and 1, not at {ip_adapter_scale}")
    return lambda source_clip_probability, shots, rng: ScaleDraw(ip_adapter_scale, None)


def policy_named(policy: str, sampling: str = "truncated") -> Policy:
    """`adaptive`, `uniform` or a number in [0, 1], as the user writes it.

    Raises UserError for anything else.
    """
    if policy == "adaptive":
        return adaptive(sampling)
    if policy == "uniform":
        return uniform()
    try:
        value = float(policy)
    except ValueError:
        raise UserError(
            f"there is no IP-Adapter scale policy '{policy}'; write adaptive, uniform or a "
            "number from 0 to 1"
        ) from None
    return fixed(value)
