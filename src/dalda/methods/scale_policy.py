"""Lambda, the image prompt's weight: how each policy draws it.

Adaptive guidance scaling (AGS) is DALDA's (arXiv 2409.16949): where CLIP does not recognise the
class in a picture, the picture is trusted more than its class's name; where it does, less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dalda.errors import UserError
from dalda.types import Weight

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


Policy = Callable[[float | None, int, np.random.Generator], Weight]
"""From an image's CLIP score (None when not needed) and its class's shots to its lambda."""


def adaptive_spread(clip_score: float, shots: int) -> Spread:
    """AGS: where lambda lies for a picture with this score, in a set of `shots` per class."""
    sigma = 0.05 * shots
    if clip_score <= THRESHOLD:
        low, top = TRUST_IMAGE
        high = top
    else:
        low, top = TRUST_TEXT
        high = top + 0.1 * math.sqrt(shots)
    return Spread(low, high, low + (top - low) * (1 - clip_score), sigma)


def draw_clipped(spread: Spread, rng: np.random.Generator) -> float:
    """The reference's draw: a normal clamped to the bounds, on which many draws then land."""
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
    """AGS, drawing from the truncated normal (the paper) or the clipped one (the reference)."""
    if sampling not in SAMPLINGS:
        raise UserError(f"there is no sampling '{sampling}'; choose one of {', '.join(SAMPLINGS)}")
    draw = draw_clipped if sampling == "clipped" else draw_truncated

    def policy(clip_score: float | None, shots: int, rng: np.random.Generator) -> Weight:
        if clip_score is None:
            raise ValueError("adaptive guidance needs a CLIP score")
        spread = adaptive_spread(clip_score, shots)
        return Weight(draw(spread, rng), spread.mean)

    return policy


def uniform() -> Policy:
    """The paper's baseline `random`: any weight from 0 to 1, whatever the score."""
    return lambda clip_score, shots, rng: Weight(float(rng.random()), None)


def fixed(ip_adapter_scale: float) -> Policy:
    """The same weight for every image; 0 is text only."""
    if not 0 <= ip_adapter_scale <= 1:
        raise UserError(f"a fixed guidance must lie between 0 and 1, not at {ip_adapter_scale}")
    return lambda clip_score, shots, rng: Weight(ip_adapter_scale, None)


def policy_named(guidance: str, sampling: str = "truncated") -> Policy:
    """`adaptive`, `random` or a number in [0, 1], as the user writes it.

    Raises UserError for anything else.
    """
    if guidance == "adaptive":
        return adaptive(sampling)
    if guidance == "random":
        return uniform()
    try:
        value = float(guidance)
    except ValueError:
        raise UserError(
            f"there is no guidance '{guidance}'; write adaptive, random or a number from 0 to 1"
        ) from None
    return fixed(value)
