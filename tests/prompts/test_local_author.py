"""The author `local`: a real language model from the package registry, end to end."""

import importlib.util
from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.prompts.book import read_book
from dalda.prompts.write import write_captions

PETS = ["pug", "Siamese", "beagle", "Maine Coon", "samoyed"]


@pytest.mark.llm
def test_local_writes_accepted_captions_for_pets(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    report = write_captions(PETS, path, llm="local", per_class=2, dataset="pets")
    assert not report.missing
    book = read_book(path, PETS)
    assert all(len(book[name]) == 2 and all(name in text for text in book[name]) for name in PETS)
    again = write_captions(PETS, path, llm="local", per_class=2, dataset="pets")
    assert again.questions == 0


@pytest.mark.skipif(importlib.util.find_spec("cyllama") is not None, reason="the extra is installed")
def test_without_its_extra_local_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="local-llm"):
        write_captions(PETS, tmp_path / "captions.json", llm="local")
