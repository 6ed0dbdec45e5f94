"""`dalda captions` as a user types it, with a server on loopback."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.captions.chat_server import ChatServer

from dalda.captions.validation import TEXT_ENCODER_TOKENS, estimate_tokens
from dalda.cli import app
from dalda.models.presets import preset_named
from dalda.models.tokenizer import token_counter

KEY = "sk-secret-of-the-command-0123456789"
STUBBORN = {"say": json.dumps({"rose": ["a daffodil in a small green garden"]})}


def prompts(server: ChatServer, folder: Path, *words: object, names: str = "pug\nrose\n") -> Result:
    (folder / "names.txt").write_text(names, encoding="utf-8")
    usual = ["--classes", folder / "names.txt", "-o", folder / "captions.json", "--model", "doodle"]
    llm = ["--llm", "openai:tiny", "--base-url", server.url]
    return CliRunner().invoke(app, [str(word) for word in ["captions", *usual, *llm, *words]])


def test_what_is_missing_is_a_table_and_exit_code_1(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.configure(faults=[STUBBORN] * 4)
    found = prompts(chat_server, tmp_path, "--per-class", 2, names="rose\n")
    assert found.exit_code == 1
    assert "missing: rose  0 of 2  does not name its class (4)" in found.stdout
    assert "4 requests" in found.stdout
    again = prompts(chat_server, tmp_path, "--per-class", 2, "--sample", 1, names="rose\n")
    assert again.exit_code == 0
    assert "\nmissing:" not in again.stdout
    assert "\nrose: a rose " in again.stdout


def test_a_list_from_a_windows_editor_is_read(chat_server: ChatServer, tmp_path: Path) -> None:
    done = prompts(chat_server, tmp_path, names="\ufeffpug\r\nrose\r\n")
    assert done.exit_code == 0
    assert list(json.loads((tmp_path / "captions.json").read_text())) == ["pug", "rose"]


def test_one_json_object_says_it_all(chat_server: ChatServer, tmp_path: Path) -> None:
    done = prompts(chat_server, tmp_path, "--per-class", 2, "--json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["captions"] == str(tmp_path / "captions.json")
    assert (report["questions"], report["tokens_in"], report["missing"]) == (1, 100, [])
    assert report["summary"]["captions"] == 4


def test_the_tokenizer_of_the_image_model_counts_where_it_is_on_disk(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    """The doodle model's is, and it knows so few words that a caption which CLIP would take is too long."""
    long = (
        "a pug beside "
        + "architectural paraphernalia, extraordinarily voluminous upholstery, " * 2
        + "at dusk"
    )
    assert estimate_tokens(long) < TEXT_ENCODER_TOKENS
    chat_server.configure(faults=[{"say": json.dumps({"pug": [long]})}])
    done = prompts(chat_server, tmp_path, "--per-class", 1, names="pug\n")
    assert done.exit_code == 0
    assert "rejected: too long for the text encoder: 1" in done.stdout
    account = json.loads((tmp_path / "captions.meta.json").read_text())
    assert account["text_encoder_tokens"] == "counted"


@pytest.mark.parametrize("model", ["no-such-owner/no-such-model", "."])
def test_a_tokenizer_that_is_not_on_disk_counts_nothing(model: str) -> None:
    assert token_counter(replace(preset_named("sd15"), model=model)) is None


def test_a_tokenizer_on_disk_counts_begin_and_end() -> None:
    count = token_counter(preset_named("doodle"))
    assert count is not None
    assert (count(""), count("a photo of a car")) == (2, 7)


def test_the_token_limit_is_exit_code_1_and_going_on_pays_only_for_the_rest(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    names = "\n".join(f"class number {index}" for index in range(30))
    stopped = prompts(chat_server, tmp_path, "--max-tokens-total", 8000, names=names)
    assert stopped.exit_code == 1
    assert "stopped: the limit of 8000 tokens would be passed" in stopped.stdout
    paid = len(chat_server.asked())
    assert 0 < paid < 6
    assert prompts(chat_server, tmp_path, names=names).exit_code == 0
    assert len(chat_server.asked()) == 6


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_hopeless_server_is_one_sentence_and_exit_code_2(
    chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    chat_server.configure(faults=[{"status": status, "message": f"no {KEY}"}])
    done = prompts(chat_server, tmp_path)
    assert done.exit_code == 2
    assert done.stderr.count("dalda: openai:tiny at ") == 1
    assert len(done.stderr.splitlines()) <= 2
    assert KEY not in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--llm", "templates"], "--base-url goes with a hosted model"),
        (["--per-class", "0"], "--per-class cannot be"),
        (["--max-tokens-total", "0"], "--max-tokens-total cannot be"),
        (["--classes", "nothing.txt"], "'nothing.txt' cannot be read"),
        (["doodles"], "one of the two"),
    ],
)
def test_mistakes_are_one_sentence_and_cost_nothing(
    chat_server: ChatServer, tmp_path: Path, words: list[str], sentence: str
) -> None:
    done = prompts(chat_server, tmp_path, *words)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not chat_server.asked()
    assert not (tmp_path / "captions.json").exists()
