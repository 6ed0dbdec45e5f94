"""A method's own usage holds where the user has chosen none."""

import pytest

from dalda.config import TrainConfig
from dalda.workflows.usage import with_usage_of


def test_the_methods_usage_holds_unless_the_user_chose() -> None:
    found = with_usage_of(TrainConfig(dataset="photos"), "real-guidance", 8)
    assert (found.mixing, found.min_clip_probability) == ("two-term-loss", 0.125)
    chosen = TrainConfig(dataset="photos", mixing="per-image-replacement", min_clip_probability=None)
    assert with_usage_of(chosen, "real-guidance", 8) == chosen


@pytest.mark.parametrize("method", ["dalda", "of another package", ""])
def test_other_methods_change_nothing(method: str) -> None:
    config = TrainConfig(dataset="photos", synthetic_probability=0.3)
    assert with_usage_of(config, method, 8) is config
