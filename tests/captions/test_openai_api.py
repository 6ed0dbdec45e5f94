"""Models behind OpenAI's protocol: faults, dialects and limits of servers, through the real SDK."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import ChatServer
from tests.captions.test_generate import CLASSES, KEY, all_text, write

from dalda.captions.generate import generate_captions
from dalda.errors import UserError


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"retry-after-ms": "20"}},
        {"status": 500, "headers": {"retry-after-ms": "20"}},
        {"status": 503, "headers": {"retry-after": "0.02"}},
        {"drop": True},
    ],
)
def test_passing_faults_are_retried(chat_server: ChatServer, tmp_path: Path, fault: dict[str, Any]) -> None:
    chat_server.configure(faults=[fault])
    report = write(chat_server, tmp_path, classes=["pug"])
    assert not report.missing
    assert len(chat_server.asked()) == 2
    assert report.questions == 1


def test_retry_after_is_honoured(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.configure(faults=[{"status": 429, "headers": {"retry-after": "1.5"}}])
    write(chat_server, tmp_path, classes=["pug"])
    first, second = chat_server.asked()
    assert second["at"] - first["at"] >= 1.5


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refuses the key"), (403, "does not let"), (404, "openai:tiny at .* knows no such model")],
)
def test_hopeless_faults_end_at_once(
    chat_server: ChatServer, tmp_path: Path, status: int, sentence: str
) -> None:
    chat_server.configure(faults=[{"status": status}])
    with pytest.raises(UserError, match=sentence):
        write(chat_server, tmp_path, concurrency=1)
    assert len(chat_server.asked()) == 1


def test_a_used_up_quota_ends_with_a_sentence(chat_server: ChatServer, tmp_path: Path) -> None:
    fault = {"status": 429, "code": "insufficient_quota", "headers": {"x-should-retry": "false"}}
    chat_server.configure(faults=[fault])
    with pytest.raises(UserError, match="quota"):
        write(chat_server, tmp_path, classes=["pug"])


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:9/v1", "refused"),
        ("http://no-such-box.invalid:8000/v1", "name|resol|known"),
        ("https://127.0.0.1:{port}/v1", "ssl|tls"),
    ],
)
def test_a_server_that_is_not_there_is_one_sentence_at_once(
    chat_server: ChatServer, tmp_path: Path, address: str, reason: str
) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=f"(?i)cannot be reached: .*({reason})"):
        generate_captions(
            CLASSES,
            tmp_path / "captions.json",
            llm="openai:x",
            base_url=address.format(port=chat_server.port),
        )
    assert time.monotonic() - started < 20  # 5 on a machine that does nothing else


@pytest.mark.parametrize(
    ("refuse", "gone"),
    [
        ({"json_schema": "response_format json_schema is not supported"}, "json_schema"),
        ({"response_format": "unknown field response_format"}, "response_format"),
        (
            {"max_tokens": "Unsupported parameter: 'max_tokens', use 'max_completion_tokens'"},
            '"max_tokens"',
        ),
        ({"temperature": "Unsupported value: 'temperature' must be 1"}, "temperature"),
        ({'"seed"': "unknown field seed"}, '"seed"'),
        ({'"system"': "System role not supported"}, '"system"'),
        ({'"system"': "Conversation roles must alternate user/assistant/user/assistant"}, '"system"'),
    ],
)
def test_a_server_that_takes_less_is_asked_for_less(
    chat_server: ChatServer, tmp_path: Path, refuse: dict[str, str], gone: str
) -> None:
    chat_server.configure(refuse=refuse)
    assert not write(chat_server, tmp_path, concurrency=1).missing
    assert gone not in json.dumps(chat_server.asked()[-1]["body"])


def test_a_server_that_takes_no_limit_at_all_is_one_sentence(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    refuse = {f'"{word}"': f"unsupported {word}" for word in ("max_tokens", "max_completion_tokens")}
    chat_server.configure(refuse=refuse)
    with pytest.raises(UserError, match="unsupported max_completion_tokens"):
        write(chat_server, tmp_path, classes=["pug"])
    assert len(chat_server.asked()) == 2


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 4400. This model supports at most 2000 completion tokens, whereas ...",
        "`max_tokens` must be less than or equal to `2000`",
    ],
)
def test_an_allowance_that_is_too_large_halves_the_chunk(
    chat_server: ChatServer, tmp_path: Path, message: str
) -> None:
    chat_server.configure(faults=[{"status": 400, "message": message}])
    assert not write(chat_server, tmp_path, classes=["pug", "rose"]).missing
    first, *others = [request["body"]["max_tokens"] for request in chat_server.asked()]
    assert len(others) == 2
    assert max(others) < first


def test_the_largest_question_fits_models_that_answer_in_4096_tokens(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    assert not write(chat_server, tmp_path, classes=CLASSES[:5], per_class=10).missing
    (asked,) = chat_server.asked()
    assert 50 * 40 < asked["body"]["max_tokens"] <= 4096


def test_a_model_that_thinks_keeps_its_room_when_the_chunk_is_halved(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.configure(faults=[{"say": "", "finish": "length"}] * 4)
    assert not write(chat_server, tmp_path, classes=["pug", "rose"], per_class=2, concurrency=1).missing
    rooms = [request["body"]["max_tokens"] for request in chat_server.asked()]
    # Two classes, one class, one caption: no less room; then there is nothing to halve, and more is given.
    assert rooms[0] == rooms[1] == rooms[2]
    assert rooms[3] == 2 * rooms[2]
    assert rooms[4] == 2 * rooms[3]


def test_a_refused_question_shows_what_the_server_says(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.configure(faults=[{"status": 400, "message": "bananas are not allowed"}])
    with pytest.raises(UserError, match="bananas are not allowed"):
        write(chat_server, tmp_path, classes=["pug"])


def test_a_context_too_long_halves_the_chunk(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.configure(
        faults=[{"status": 400, "code": "context_length_exceeded", "message": "too long"}]
    )
    assert not write(chat_server, tmp_path, classes=["pug", "rose"]).missing
    assert len(chat_server.asked()) == 3


def test_azure_takes_its_settings_from_a_file(
    chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        f"AZURE_ENDPOINT=http://127.0.0.1:{chat_server.port}\nAZURE_API_KEY={KEY}\n"
        "AZURE_API_VERSION=2024-06-01\nAZURE_MODEL=my-deployment\n"
    )
    chat_server.configure(
        refuse={"max_completion_tokens": "Unrecognized request argument supplied: max_completion_tokens"}
    )
    for llm, deployment in (("azure", "my-deployment"), ("azure:other", "other")):
        path = tmp_path / deployment / "captions.json"
        assert not generate_captions(["pug", "rose"], path, llm=llm, per_class=2).missing
        asked = chat_server.asked()[-1]
        assert f"/openai/deployments/{deployment}/chat/completions?api-version=2024-06-01" in asked["path"]
        assert asked["key"] == KEY
        assert KEY not in all_text(path.parent)
