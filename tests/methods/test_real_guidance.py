"""Real-Guidance: its published numbers, and a strength that follows the shots."""

import pytest
from tests.methods.test_base import images_of, requests_of

from dalda.methods.real_guidance import RealGuidance, strength_for


def test_the_published_numbers() -> None:
    """arXiv 2210.07574: 50, 40, 35, 20, 15 of 100 steps for 1, 2, 4, 8, 16 shots; both losses alike."""
    assert [strength_for(shots) for shots in (1, 2, 4, 8, 16)] == [0.50, 0.40, 0.35, 0.20, 0.15]
    usage = RealGuidance.defaults
    assert (usage.mixing, usage.synthetic_probability, usage.clip_filter) == ("two-term-loss", 0.5, 1.0)


def test_between_published_shots_the_strength_is_interpolated_over_their_logarithm() -> None:
    assert strength_for(3) == pytest.approx(0.40 - 0.05 * 0.5849625)
    assert (strength_for(32), strength_for(1000)) == (0.15, 0.15)


def test_each_class_has_the_strength_of_its_shots() -> None:
    requests = requests_of(images_of(6), "real-guidance")
    shots = {x.label: len({y.source for y in requests if y.label == x.label}) for x in requests}
    assert {x.strength for x in requests} == {strength_for(count) for count in shots.values()}
    assert {x.strength for x in requests_of(images_of(6), "real-guidance", strength=0.3)} == {0.3}
