import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dalda.errors import UserError
from dalda.methods.scale_policy import (
    ScaleDistribution,
    adaptive,
    adaptive_distribution,
    draw_clipped,
    draw_truncated,
    fixed,
    policy_named,
    uniform,
)

scores = st.floats(0, 1)
shots = st.integers(1, 64)


@pytest.mark.parametrize(
    ("score", "k", "low", "high", "mean", "sigma"),
    [
        (0.0, 1, 0.7, 0.9, 0.9, 0.05),
        (0.3, 4, 0.7, 0.9, 0.7 + 0.2 * 0.7, 0.2),
        (0.30001, 4, 0.1, 0.4 + 0.1 * 2, 0.1 + 0.3 * 0.69999, 0.2),
        (1.0, 16, 0.1, 0.8, 0.1, 0.8),
        (0.5, 1, 0.1, 0.5, 0.25, 0.05),
    ],
)
def test_the_table_of_the_paper(
    score: float, k: int, low: float, high: float, mean: float, sigma: float
) -> None:
    spread = adaptive_distribution(score, k)
    assert (spread.low, spread.high, spread.mean, spread.sigma) == pytest.approx((low, high, mean, sigma))


@given(scores, shots, st.integers(0, 2**32), st.sampled_from([draw_clipped, draw_truncated]))
def test_every_draw_lies_within_its_bounds(score: float, k: int, seed: int, draw: object) -> None:
    spread = adaptive_distribution(score, k)
    value = draw(spread, np.random.default_rng(seed))  # type: ignore[operator]
    assert spread.low <= value <= spread.high


@given(scores, shots)
def test_less_recognised_images_are_trusted_more(score: float, k: int) -> None:
    assert adaptive_distribution(0.3, k).low > adaptive_distribution(0.31, k).mean
    assert adaptive_distribution(score, k).mean >= adaptive_distribution(min(1.0, score + 0.05), k).mean


def test_truncated_follows_the_truncated_normal() -> None:
    spread = ScaleDistribution(0.1, 0.6, 0.25, 0.2)
    rng = np.random.default_rng(0)
    drawn = [draw_truncated(spread, rng) for _ in range(4000)]
    a, b = (spread.low - spread.mean) / spread.sigma, (spread.high - spread.mean) / spread.sigma
    expected = stats.truncnorm(a, b, loc=spread.mean, scale=spread.sigma)
    assert stats.kstest(drawn, expected.cdf).pvalue > 0.01


def test_clipped_draws_pile_up_on_the_bounds_at_sixteen_shots() -> None:
    spread = adaptive_distribution(0.1, 16)
    rng = np.random.default_rng(0)
    drawn = np.array([draw_clipped(spread, rng) for _ in range(1000)])
    assert np.isin(drawn, [spread.low, spread.high]).mean() > 0.5
    assert not np.isin([draw_truncated(spread, rng) for _ in range(1000)], [spread.low, spread.high]).any()


def test_policies() -> None:
    rng = np.random.default_rng(0)
    weight = adaptive()(0.2, 4, rng)
    assert 0.7 <= weight.ip_adapter_scale <= 0.9
    assert weight.ip_adapter_scale_mean == pytest.approx(0.86)
    with pytest.raises(ValueError, match="needs a CLIP class probability"):
        adaptive()(None, 4, rng)
    drawn = [uniform()(None, 1, rng).ip_adapter_scale for _ in range(2000)]
    assert stats.kstest(drawn, "uniform").pvalue > 0.01
    assert fixed(0.4)(None, 1, rng).ip_adapter_scale == 0.4
    assert fixed(0.4)(None, 1, rng).ip_adapter_scale_mean is None


@pytest.mark.parametrize("wrong", ["adaptve", "1.2", "-0.1", "nan", ""])
def test_a_wrong_guidance_is_one_sentence(wrong: str) -> None:
    with pytest.raises(UserError, match="IP-Adapter scale"):
        policy_named(wrong)


def test_a_wrong_sampling_names_the_right_ones() -> None:
    with pytest.raises(UserError, match="truncated, clipped"):
        policy_named("adaptive", "cliped")


@given(st.floats(0, 1))
def test_a_number_is_a_fixed_weight(value: float) -> None:
    weight = policy_named(repr(value))(None, 1, np.random.default_rng(0))
    assert math.isclose(weight.ip_adapter_scale, value)


@pytest.mark.parametrize("k", [1, 16, 36, 37, 100, 10_000])
@pytest.mark.parametrize("sampling", ["truncated", "clipped"])
def test_no_scale_is_above_one_however_many_images_a_class_has(k: int, sampling: str) -> None:
    """From 37 images on, the paper's bound 0.4 + 0.1 sqrt(shots) would exceed 1."""
    rng = np.random.default_rng(0)
    drawn = [adaptive(sampling)(0.9, k, rng).ip_adapter_scale for _ in range(200)]
    assert 0.1 <= min(drawn) <= max(drawn) <= 1


def test_a_higher_bound_is_there_for_those_who_ask() -> None:
    rng = np.random.default_rng(0)
    drawn = [adaptive("truncated", 2.0)(0.9, 100, rng).ip_adapter_scale for _ in range(200)]
    assert 1 < max(drawn) <= 1.4
    assert policy_named("1.5", max_scale=2.0)(None, 1, rng).ip_adapter_scale == 1.5
    assert max(uniform(0.5)(None, 1, rng).ip_adapter_scale for _ in range(200)) <= 0.5
