"""The hardest classes: those that a probe confuses on images it did not see, and no others."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dalda.errors import UserError
from dalda.evaluation.hardest_classes import hardest_classes, held_out_probabilities

LABELS = [name for name in ("ant", "bee", "cat", "dog") for _ in range(6)]


def features_of(overlap: float) -> NDArray[np.float64]:
    """Four clusters of 6; `bee` and `dog` lie near each other."""
    centres = np.eye(4) * 4
    centres[3] = (1 - overlap) * centres[3] + overlap * centres[1]
    noise = np.random.default_rng(0).normal(size=(24, 4))
    return np.repeat(centres, 6, axis=0) + 0.5 * noise


def test_the_classes_that_overlap_are_the_hardest() -> None:
    assert set(hardest_classes(features_of(0.95), LABELS, 2, seed=0)) == {"bee", "dog"}
    assert (
        hardest_classes(features_of(0.95), LABELS, 2, 0)
        == hardest_classes(features_of(0.95), LABELS, 3, 0)[:2]
    )


def test_an_image_is_predicted_by_a_probe_that_did_not_see_it() -> None:
    """An image with a wrong label: a probe that saw it would give that label a high probability."""
    features = features_of(0.0)
    labels = ["cat", *LABELS[1:]]
    own = held_out_probabilities(features, labels, ["ant", "bee", "cat", "dog"], 0)
    assert own[0] < 0.2
    assert (own[1:6] > 0.5).all()


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(UserError, match="--hardest 5 is more than the 4 classes"):
        hardest_classes(features_of(0.5), LABELS, 5, 0)
    with pytest.raises(UserError, match="'dog' has one image; use more --shots"):
        hardest_classes(features_of(0.5)[:19], LABELS[:19], 2, 0)
