"""Every dialect of a server ends in captions, or in the server's own words."""

import json
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import ChatServer
from tests.captions.dialects import DIALECTS

from dalda.captions.dialect import complaint_of
from dalda.captions.generate import CaptionReport, generate_captions
from dalda.errors import UserError

CLASSES = ["dog", "cat", "gun", "rose", "boat"]
FLAGGED = {
    "refusal-field": "refusal",
    "refusal-finish": "refusal",
    "refusal-text": "not in the answer",
    "safety-finish": "safety",
    "content-filter": "content_filter",
    "sensitive-400": "inappropriate content",
    "block-403": "flagged by the moderation system",
}
"""They refuse the class gun; what the report says of it."""
WORDS = {
    "stream-only": "only support stream mode",
    "thinking-flag": "enable_thinking must be set to false",
    "ok-error": "Rate limit exceeded: free-models-per-day",
    "ok-error-choice": "Upstream overloaded",
    "ok-msg": "account overdue",
    "dict-detail": "Model not loaded",
    "loading-400": "No models loaded",
    "sse": "DONE",
    "choices-null": "no choices",
    "think-unclosed": "not in the answer",
}
"""They never answer; what the error or the report says."""


def ask(server: ChatServer, folder: Path, dialect: str) -> CaptionReport:
    return generate_captions(
        CLASSES, folder / "captions.json", llm=f"openai:{dialect}", base_url=server.url, per_class=2
    )


def captions_in(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((folder / "captions.json").read_text())
    return found


context_of = cache(ssl.create_default_context)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No retries; and the certificates, which a server on loopback does not show, are read once."""
    monkeypatch.setattr("dalda.captions.openai_api.RETRIES", 0)
    monkeypatch.setattr("ssl.create_default_context", context_of)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name not in (*FLAGGED, *WORDS)])
def test_captions_come_in_every_dialect(chat_server: ChatServer, tmp_path: Path, dialect: str) -> None:
    report = ask(chat_server, tmp_path, dialect)
    assert not report.missing
    captions = captions_in(tmp_path)
    assert [len(captions[name]) for name in CLASSES] == [2] * 5
    thoughts = ("placeholder", "I should mention", "okay so the user")
    assert not any(words in text for texts in captions.values() for text in texts for words in thoughts)


@pytest.mark.parametrize("dialect", FLAGGED)
def test_a_refused_class_costs_no_other(chat_server: ChatServer, tmp_path: Path, dialect: str) -> None:
    report = ask(chat_server, tmp_path, dialect)
    assert [entry.label for entry in report.missing] == ["gun"]
    assert FLAGGED[dialect] in report.missing[0].reason
    assert set(captions_in(tmp_path)) == set(CLASSES) - {"gun"}
    asked = len(chat_server.asked())
    again = ask(chat_server, tmp_path, dialect)
    assert [entry.label for entry in again.missing] == ["gun"]
    assert asked < len(chat_server.asked()) <= asked + 4, "only the flagged class is asked for again"


@pytest.mark.parametrize("dialect", WORDS)
def test_a_server_that_never_answers_is_quoted(
    chat_server: ChatServer, tmp_path: Path, dialect: str
) -> None:
    try:
        report = ask(chat_server, tmp_path, dialect)
        words = f"{report.stopped} {[entry.reason for entry in report.missing]}"
        assert len(report.missing) == 5
    except UserError as error:
        words = str(error)
    assert WORDS[dialect] in words
    assert words.isprintable()


def test_a_refusal_is_forgotten_where_nothing_was_answered(chat_server: ChatServer, tmp_path: Path) -> None:
    """As with a server whose model is not loaded yet: the next run asks as if there had been none."""
    chat_server.configure(faults=[{"status": 400, "message": "No models loaded"}] * 3)
    arguments: dict[str, Any] = {"llm": "openai:tiny", "base_url": chat_server.url}
    with pytest.raises(UserError, match="No models loaded"):
        generate_captions(CLASSES, tmp_path / "captions.json", **arguments)
    report = generate_captions(CLASSES, tmp_path / "captions.json", **arguments)
    assert (report.questions, report.missing) == (1, ())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no", "code": 3}}, "no 3"),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "extra", "input": {"temperature": 1}}]},
            "extra body.seed",
        ),
        ({"message": {"detail": [{"msg": "a"}, {"msg": "b"}]}}, "a; b"),
        ([{"error": "plain"}], "plain"),
        ("<html><b>Bad</b> gateway</html>", "Bad gateway"),
        ("\x1b[31mred\x1b[0m \u202eback", "[31mred [0m back"),
        ({"input": "the whole request"}, ""),
        (None, "None"),
    ],
)
def test_complaints_are_read_in_every_shape(body: object, words: str) -> None:
    assert complaint_of(body) == words


def test_a_complaint_that_never_ends_is_read_to_a_depth() -> None:
    body: dict[str, object] = {"message": "no"}
    for _ in range(5000):
        body = {"error": body, "message": "again"}
    assert complaint_of(body) == "again"
