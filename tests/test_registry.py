"""The tables that packages fill."""

import subprocess
import sys

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


def test_reading_a_table_loads_nothing_heavy() -> None:
    """Every command reads one: scipy.stats alone would add seconds to each."""
    code = "import sys; from dalda.models.presets import PRESETS; list(PRESETS); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "diffusers", "transformers", "scipy.stats", "matplotlib", "openai", "datasets"}
    assert not heavy & set(done.stdout.split())
