"""The language model `local`: a real language model from the package registry, end to end."""

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.compat.tiny_pets import make_tiny_pets

from dalda.captions.caption_file import read_captions
from dalda.captions.generate import generate_captions
from dalda.captions.validation import Rules
from dalda.cli import app
from dalda.datasets.class_names import published_classes
from dalda.errors import UserError

PETS = ["pug", "Siamese", "beagle", "Maine Coon", "samoyed"]


@pytest.mark.llm
def test_local_writes_accepted_captions_for_pets(tmp_path: Path) -> None:
    path, names = tmp_path / "captions.json", tmp_path / "names.txt"
    names.write_text("\n".join(PETS))
    words = ["captions", "--classes", str(names), "-o", str(path), "--llm", "local", "--per-class", "2"]
    words += ["--domain", "photos of pet cats and dogs", "--json"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    book = read_captions(path, PETS)
    assert [len(book[name]) for name in PETS] == [2] * len(PETS)
    rules = Rules(PETS)
    assert not [text for name in PETS for text in book[name] if rules.reason_against(text, name, ())]
    assert json.loads(first.stdout)["tokens_out"] > 0
    again = CliRunner().invoke(app, words)
    assert json.loads(again.stdout)["questions"] == 0


@pytest.mark.llm
def test_pets_by_the_local_model_need_no_key_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the documents, stopped by its token limit after a class or two, and taken up again."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    root = make_tiny_pets(tmp_path / "pets", per_class=1)
    path = tmp_path / "captions.json"
    words = ["captions", "pets", "--root", str(root), "-o", str(path), "--llm", "local", "--json"]
    # A question sets aside ten readings of the examples, a token a byte, and ten captions.
    words += ["--per-class", "1", "--max-tokens-total", "3000"]
    stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 1, stopped.output
    first = json.loads(stopped.stdout)
    assert "limit of 3000 tokens" in first["stopped"]
    assert first["tokens_in"] + first["tokens_out"] <= 3000
    book = json.loads(path.read_text())
    assert 0 < len(book) < len(published_classes("pets"))
    again = json.loads(CliRunner().invoke(app, words).stdout)
    assert again["questions"] > 0
    assert {
        name: captions for name, captions in json.loads(path.read_text()).items() if name in book
    } == book


@pytest.mark.skipif(importlib.util.find_spec("cyllama") is not None, reason="the extra is installed")
def test_without_its_extra_local_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="local-llm"):
        generate_captions(PETS, tmp_path / "captions.json", llm="local")
