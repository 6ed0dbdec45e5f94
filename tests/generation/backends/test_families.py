"""The table of docs/generators.md is what the families declare, and each names a loader that is there."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import diffusers
import pytest

from dalda.generation.backends.families import FAMILIES
from dalda.generation.backends.image_to_image import IMAGE_TO_IMAGE
from dalda.models.presets import PRESETS, ROWS_OF_CLASSES

ROOT = Path(__file__).parents[3]


def test_the_table_of_the_docs_is_what_the_families_declare() -> None:
    tool = ROOT / "tools/model_families.py"
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True)
    assert done.stdout in (ROOT / "docs/generators.md").read_text(encoding="utf-8")
    assert len(done.stdout.splitlines()) == len(FAMILIES) + 2


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_a_class_of_diffusers_with_a_loader(name: str) -> None:
    assert hasattr(diffusers, name)
    module, _, loader = FAMILIES[name].loader.partition(":")
    assert callable(getattr(import_module(module), loader))
    assert hasattr(diffusers, IMAGE_TO_IMAGE.get(name, name))


def test_each_class_of_a_folder_starts_from_a_row() -> None:
    assert set(ROWS_OF_CLASSES) <= set(FAMILIES)
    assert set(ROWS_OF_CLASSES.values()) <= set(PRESETS)
