"""The author `local`: a real language model from the package registry, end to end."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dalda.cli import app
from dalda.errors import UserError
from dalda.prompts.acceptance import Rules
from dalda.prompts.book import read_book
from dalda.prompts.write import write_captions

PETS = ["pug", "Siamese", "beagle", "Maine Coon", "samoyed"]


@pytest.mark.llm
def test_local_writes_accepted_captions_for_pets(tmp_path: Path) -> None:
    path, names = tmp_path / "captions.json", tmp_path / "names.txt"
    names.write_text("\n".join(PETS))
    words = ["prompts", "--classes", str(names), "-o", str(path), "--llm", "local", "--per-class", "2"]
    words += ["--about", "photos of pet cats and dogs", "--json"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    book = read_book(path, PETS)
    assert [len(book[name]) for name in PETS] == [2] * len(PETS)
    rules = Rules(PETS)
    assert not [text for name in PETS for text in book[name] if rules.reason_against(text, name, ())]
    assert json.loads(first.stdout)["tokens_out"] > 0
    again = CliRunner().invoke(app, words)
    assert json.loads(again.stdout)["questions"] == 0


@pytest.mark.skipif(importlib.util.find_spec("cyllama") is not None, reason="the extra is installed")
def test_without_its_extra_local_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="local-llm"):
        write_captions(PETS, tmp_path / "captions.json", llm="local")
