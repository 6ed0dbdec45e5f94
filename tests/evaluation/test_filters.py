from collections.abc import Callable

import pytest

from dalda.errors import UserError
from dalda.evaluation.filters import by_agreement, by_probability, weights_of
from dalda.types import FewShotSplit, SyntheticImage


@pytest.fixture
def samples(
    make_split: Callable[..., FewShotSplit], make_samples: Callable[..., tuple[SyntheticImage, ...]]
) -> tuple[SyntheticImage, ...]:
    return make_samples(make_split("train", 1), 1)


def test_a_low_probability_is_excluded_with_its_reason(samples: tuple[SyntheticImage, ...]) -> None:
    found = by_probability(samples, [0.2, 0.5, 0.1], 0.2)
    assert found.passed == samples[:2]
    assert found.excluded == ((samples[2].request_id, "CLIP class probability below 0.2"),)
    with pytest.raises(UserError, match="2 values for 3"):
        by_probability(samples, [0.2, 0.5], 0.2)


def test_disagreement_is_excluded_with_what_is_predicted(samples: tuple[SyntheticImage, ...]) -> None:
    found = by_agreement(samples, ["red", "red", "red"])
    assert found.passed == samples[:1]
    assert found.excluded == (
        (samples[1].request_id, "looks like red, not green"),
        (samples[2].request_id, "looks like red, not blue"),
    )


def test_weights_of_have_a_mean_of_one() -> None:
    assert weights_of([0.2, 0.6]) == pytest.approx((0.5, 1.5))
    assert weights_of([]) == ()
    with pytest.raises(UserError, match="probability of zero"):
        weights_of([0.0, 0.0])
