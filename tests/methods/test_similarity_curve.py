"""From a similarity to the scale that gives it, and back."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalda.errors import UserError
from dalda.methods.scale_policy import adaptive, fixed, in_similarity
from dalda.methods.similarity_curve import SCALES, SimilarityCurve, curve_path, load_curve, save_curve

STEEP = SimilarityCurve(SCALES, (0.5, 0.5, 0.52, 0.9, 0.88, 0.95, 1.0))
"""As of a distilled model: nothing happens at first, then nearly all at once, with a dip after it."""


def test_a_straight_curve_changes_nothing() -> None:
    straight = SimilarityCurve(SCALES, tuple(0.2 + 0.6 * scale for scale in SCALES))
    assert [straight.scale_for(share) for share in (0.0, 0.3, 1.0)] == pytest.approx([0.0, 0.3, 1.0])
    assert straight.scale_for(1.5) == pytest.approx(1.5)


def test_a_steep_curve_by_hand() -> None:
    """0.76 of the way from 0.5 to 1.0 is 0.88, which lies between 0.52 at 1/3 and 0.9 at 1/2."""
    assert STEEP.scale_for(0.76) == pytest.approx(1 / 3 + (0.88 - 0.52) / (0.9 - 0.52) / 6)
    assert STEEP.scale_for(0.0) == 0.0
    assert STEEP.scale_for(1.0) == 1.0


@given(st.lists(st.floats(-1, 1), min_size=7, max_size=7), st.floats(0, 1), st.floats(0, 1))
def test_more_similarity_is_never_a_smaller_scale(values: list[float], one: float, other: float) -> None:
    curve = SimilarityCurve(SCALES, tuple(values))
    low, high = sorted((one, other))
    assert 0 <= curve.scale_for(low) <= curve.scale_for(high) + 1e-12 <= 1 + 1e-9


def test_a_policy_draws_similarities_and_records_both() -> None:
    draw = in_similarity(fixed(0.76), STEEP)(None, 4, np.random.default_rng(0))
    assert (draw.drawn_similarity, draw.ip_adapter_scale) == (0.76, STEEP.scale_for(0.76))
    plain = adaptive()(0.9, 4, np.random.default_rng(3))
    drawn = in_similarity(adaptive(), STEEP)(0.9, 4, np.random.default_rng(3))
    assert drawn.drawn_similarity == plain.ip_adapter_scale
    assert plain.ip_adapter_scale_mean is not None
    assert drawn.ip_adapter_scale_mean == STEEP.scale_for(plain.ip_adapter_scale_mean)


def test_a_curve_is_kept_for_its_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="run dalda calibrate DATASET with the same --model first"):
        load_curve("abc")
    assert save_curve(STEEP, "abc", {"model": "m"}) == curve_path("abc")
    assert load_curve("abc") == STEEP
    assert json.loads(curve_path("abc").read_text())["model"] == "m"


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", '{"scales": [0], "similarities": [1, 2]}', '{"scales": [], "similarities": []}'),
        *('{"scales": [0, 50], "similarities": [0, 1]}', '{"scales": [1, 0], "similarities": [0, 1]}'),
    ],
)
def test_a_damaged_curve_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path))
    curve_path("abc").parent.mkdir()
    curve_path("abc").write_text(content)
    with pytest.raises(UserError) as refused:
        load_curve("abc")
    assert "\n" not in str(refused.value)
