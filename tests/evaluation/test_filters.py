from collections.abc import Callable

import pytest

from dalda.errors import UserError
from dalda.evaluation.filters import weights_of, weights_within_sources
from dalda.types import FewShotSplit, SyntheticImage


@pytest.fixture
def synthetic(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> tuple[SyntheticImage, ...]:
    return make_synthetic(make_split("train", 1), 1)


def test_weights_of_have_a_mean_of_one() -> None:
    assert weights_of([0.2, 0.6]) == pytest.approx((0.5, 1.5))
    assert weights_of([]) == ()
    with pytest.raises(UserError, match="probability of zero"):
        weights_of([0.0, 0.0])


def test_weights_within_sources_have_a_mean_of_one_for_each_source(
    synthetic: tuple[SyntheticImage, ...],
) -> None:
    first, second, third = synthetic[:3]
    images = [first, first, second, third, third]
    weights = weights_within_sources([0.2, 0.5, 0.1, 0.0, 0.0], images)
    # arXiv 2408.14584: w = 1 where c >= 0.5, else 2c.
    assert weights == pytest.approx((0.4 / 0.7, 1.0 / 0.7, 1.0, 1.0, 1.0))
    assert weights_within_sources([0.5, 0.9], [first, first]) == (1.0, 1.0)
    assert weights_within_sources([], []) == ()
