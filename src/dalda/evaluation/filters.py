"""Which synthetic images a trial takes, and how far it trusts each: filters that record what they drop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dalda.errors import UserError
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.trial import image_of, labels_of
from dalda.models.clip import class_probabilities
from dalda.types import SyntheticImage


@dataclass(frozen=True)
class Filtered:
    """What a filter kept, and each dropped sample's request with the reason."""

    kept: tuple[SyntheticImage, ...]
    dropped: tuple[tuple[str, str], ...]


def by_score(samples: Sequence[SyntheticImage], scores: ArrayLike, threshold: float) -> Filtered:
    """Keeps samples whose own score (CLIP's probability of their class) is at least the threshold."""
    return _sieve(
        samples, np.asarray(scores) >= threshold, lambda _: f"CLIP class probability below {threshold:g}"
    )


def by_agreement(samples: Sequence[SyntheticImage], seen: Sequence[str]) -> Filtered:
    """Keeps samples in which a classifier trained on real images only sees their class."""
    agreed = [sample.label == name for sample, name in zip(samples, seen, strict=True)]
    return _sieve(samples, agreed, lambda number: f"looks like {seen[number]}, not {samples[number].label}")


def clip_probabilities(
    samples: Sequence[SyntheticImage], classes: Sequence[str], store: FeatureStore
) -> NDArray[np.float64]:
    """The method's CLIP class probability of each synthetic image itself: CLIP's probability of its class,
    [n].

    Raises `UserError` for a backbone that reads no text.
    """
    text = store.backbone.head_init(classes)
    if text is None:
        raise UserError(f"The backbone {store.backbone.name!r} reads no text: score with clip.")
    faces = store.plain([image_of(sample) for sample in samples])
    return class_probabilities(faces, text.numpy(), store.backbone.text_scale)[
        np.arange(len(samples)), labels_of(samples, classes)
    ]


def soft_weights(scores: ArrayLike, power: float = 1.0) -> tuple[float, ...]:
    """Weights from scores in [0, 1], scaled to a mean of 1, for `Trial.sample_weights`.

    Raises `UserError` where all scores are zero, so that nothing would be learned from the images.
    """
    raised = np.asarray(scores, float) ** power
    if not len(raised):
        return ()
    if raised.mean() == 0:
        raise UserError("Every synthetic image has a score of zero: leave the weights out.")
    return tuple((raised / raised.mean()).tolist())


def _sieve(samples: Sequence[SyntheticImage], keep: ArrayLike, why: Callable[[int], str]) -> Filtered:
    chosen = np.asarray(keep, bool)
    if len(chosen) != len(samples):
        raise UserError(
            f"There are {len(chosen)} scores for {len(samples)} synthetic images: give one for each."
        )
    return Filtered(
        tuple(sample for sample, good in zip(samples, chosen, strict=True) if good),
        tuple((samples[number].request_id, why(number)) for number in np.flatnonzero(~chosen).tolist()),
    )
