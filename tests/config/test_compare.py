"""The options of a comparison, as text and as values."""

from pathlib import Path

import pytest

from dalda.config import CompareConfig


@pytest.mark.parametrize("written", ["1, all", ("1,all",), ("1", "all"), (1, None)])
def test_shots_may_be_all_in_any_form(written: object) -> None:
    config = CompareConfig(dataset="photos", out=Path("out"), shots=written)  # type: ignore[arg-type]
    assert config.shots == (1, None)
