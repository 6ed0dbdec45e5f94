"""The temperature: found again where it was put in, and from images that the head did not see."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from dalda.evaluation.calibration import best_temperature, held_out_temperature
from dalda.evaluation.classifier import Head
from dalda.evaluation.heads.base import FeatureRows


def rows_of(count: int, seed: int = 0) -> FeatureRows:
    """Two classes along one axis that overlap: the log-odds of the second are twice the feature."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = generator.normal(loc=2.0 * labels - 1)[:, None]
    images = np.arange(count)
    return FeatureRows(
        features=features,
        targets=np.eye(2)[labels],
        weights=np.full(count, 1 / count),
        images=images,
        sources=np.stack([images, images], 1),
        real=np.ones(count, np.bool_),
    )


def times(sharpness: float) -> Head:
    return Head(torch.tensor([[0.0], [2.0 * sharpness]]), torch.zeros(2))


def test_logits_that_are_three_times_too_large_have_temperature_three() -> None:
    generator = np.random.default_rng(0)
    logits: NDArray[np.float64] = generator.normal(size=(4000, 5))
    chances = softmax(logits, axis=1).cumsum(1)
    labels = (chances < generator.random((4000, 1))).sum(1)
    assert best_temperature(3 * logits, np.eye(5)[labels]) == pytest.approx(3, rel=0.1)


def test_the_temperature_is_that_of_images_that_were_left_out() -> None:
    rows, seen = rows_of(2000), []

    def fit(part: FeatureRows, seed: int) -> Head:
        seen.append(set(part.images.tolist()))
        return times(4)

    assert held_out_temperature(rows, fit, 0) == pytest.approx(4, rel=0.15)
    assert len(seen) == 5
    assert set.intersection(*seen) == set()


def test_one_image_a_class_leaves_probabilities_as_they_are() -> None:
    assert held_out_temperature(rows_of(2), lambda part, seed: times(4), 0) == 1.0
