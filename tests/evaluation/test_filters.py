from collections.abc import Callable

import pytest

from dalda.errors import UserError
from dalda.evaluation.filters import by_agreement, by_score, soft_weights
from dalda.types import FewShotSplit, SyntheticImage


@pytest.fixture
def samples(
    make_split: Callable[..., FewShotSplit], make_samples: Callable[..., tuple[SyntheticImage, ...]]
) -> tuple[SyntheticImage, ...]:
    return make_samples(make_split("train", 1), 1)


def test_a_low_score_is_dropped_with_its_reason(samples: tuple[SyntheticImage, ...]) -> None:
    found = by_score(samples, [0.2, 0.5, 0.1], 0.2)
    assert found.kept == samples[:2]
    assert found.dropped == ((samples[2].request_id, "CLIP class probability below 0.2"),)
    with pytest.raises(UserError, match="2 scores for 3"):
        by_score(samples, [0.2, 0.5], 0.2)


def test_disagreement_is_dropped_with_what_is_seen(samples: tuple[SyntheticImage, ...]) -> None:
    found = by_agreement(samples, ["red", "red", "red"])
    assert found.kept == samples[:1]
    assert found.dropped == (
        (samples[1].request_id, "looks like red, not green"),
        (samples[2].request_id, "looks like red, not blue"),
    )


def test_soft_weights_have_a_mean_of_one() -> None:
    assert soft_weights([0.2, 0.6]) == pytest.approx((0.5, 1.5))
    assert soft_weights([0.5, 1.0], power=2) == pytest.approx((0.4, 1.6))
    assert soft_weights([]) == ()
    with pytest.raises(UserError, match="score of zero"):
        soft_weights([0.0, 0.0])
