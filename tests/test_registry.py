"""The tables that packages fill."""

import pytest

from dalda.datasets.registry import DATASETS, made_for
from dalda.evaluation.backbones.table import ROWS
from dalda.models.presets import PRESETS
from dalda.registry import DEFAULT_MODEL, Registry


def test_a_name_is_registered_once() -> None:
    table = Registry({"a": 1})
    table.register("a", 1)
    with pytest.raises(ValueError, match="'a' is registered twice"):
        table.register("a", 2)
    table.register("b", 2)
    assert dict(table) == {"a": 1, "b": 2}
    assert table.get("c") is None


def test_the_default_model_and_what_fits_it_are_registered() -> None:
    assert DEFAULT_MODEL in PRESETS
    datasets = made_for(DEFAULT_MODEL)
    assert datasets
    assert all(DATASETS[dataset].backbone in ROWS for dataset in datasets)
    assert made_for("sd15") == []
