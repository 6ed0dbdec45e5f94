"""Captions through the real SDK from a real server on loopback, good days and bad."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.captions.chat_server import ChatServer
from tests.captions.written import caption

from dalda.captions.caption_file import meta_path, read_captions
from dalda.captions.generate import CaptionReport, generate_captions
from dalda.captions.instructions import prompt_texts
from dalda.errors import UserError

KEY = "sk-secret-of-the-test-0123456789"
CLASSES = ["pug", "Siamese", "Maine Coon", "hard-leaved pocket orchid", "猫", "and/or", "rose"]


def write(server: ChatServer, folder: Path, **settings: Any) -> CaptionReport:
    usual: dict[str, Any] = {
        "llm": "openai:tiny",
        "base_url": server.url,
        "per_class": 3,
        "classes": CLASSES,
    }
    settings = usual | settings
    return generate_captions(settings.pop("classes"), folder / "captions.json", **settings)


def all_text(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_every_class_gets_its_own_captions_and_an_account(chat_server: ChatServer, tmp_path: Path) -> None:
    report = write(chat_server, tmp_path, domain="photos of pets")
    assert not report.missing
    book = read_captions(report.path, CLASSES)
    assert all(len(set(book[name])) == 3 and all(name in text for text in book[name]) for name in CLASSES)
    account = json.loads(meta_path(report.path).read_text())
    assert account["llm"] == f"openai:tiny at {chat_server.url}"
    assert report.questions == account["answers"] == 2
    assert (report.tokens_in, report.tokens_out) == (200, 40 * 3 * len(CLASSES))
    assert (account["tokens_in"], account["tokens_out"]) == (200, 40 * 3 * len(CLASSES))
    assert "The images are photos of pets." in chat_server.asked()[0]["body"]["messages"][1]["content"]
    assert chat_server.asked()[0]["body"]["response_format"]["type"] == "json_schema"
    assert set(report.sample(2)) == set(CLASSES)
    json.dumps(report.as_dict())


def test_the_original_style_asks_for_one_sentence_of_all_classes_at_a_time(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    report = write(chat_server, tmp_path, domain="pets", texts=prompt_texts("original"))
    assert not report.missing
    assert report.questions == 3
    for asked in chat_server.asked():
        system, user = asked["body"]["messages"]
        assert "one sentence for each class" in system["content"]
        assert "The data set: pets." in user["content"]
        assert all(f"- {name}: 1" in user["content"] for name in CLASSES)
        assert "response_format" not in asked["body"]
    assert len({asked["body"]["seed"] for asked in chat_server.asked()}) == 3
    assert write(chat_server, tmp_path, domain="pets", texts=prompt_texts("original")).questions == 0
    with pytest.raises(UserError, match="holds other captions"):
        write(chat_server, tmp_path, domain="pets")


def test_texts_of_ones_own_are_sent_as_they_are(chat_server: ChatServer, tmp_path: Path) -> None:
    texts = prompt_texts("standard", ["Be brief, for $5.", "Of $domain:\n$classes"])
    assert not write(chat_server, tmp_path, domain="pets", texts=texts, classes=["pug", "rose"]).missing
    messages = chat_server.asked()[0]["body"]["messages"]
    assert [message["content"] for message in messages] == [
        "Be brief, for $5.",
        "Of pets:\n- pug: 3\n- rose: 3",
    ]
    assert prompt_texts("original", ["'pug','rose'"]).user == "'pug','rose'"
    for own, sentence in ((["no list"], r"has no \$classes"), (["$classes"] * 3, "more than twice")):
        with pytest.raises(UserError, match=sentence):
            prompt_texts("standard", own)


def test_running_again_costs_nothing_and_more_costs_only_the_difference(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    first = write(chat_server, tmp_path)
    before = (tmp_path / "captions.json").read_bytes()
    assert write(chat_server, tmp_path).questions == 0
    assert (tmp_path / "captions.json").read_bytes() == before
    more = write(chat_server, tmp_path, per_class=5)
    assert more.tokens_out == 40 * 2 * len(CLASSES)
    assert all(list(more.captions[name][:3]) == list(first.captions[name]) for name in CLASSES)
    assert write(chat_server, tmp_path, per_class=5).questions == 0


def test_a_file_with_other_captions_is_refused_before_anything_is_paid(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    (tmp_path / "captions.json").write_text('{"pug": ["my own pug"]}')
    with pytest.raises(UserError, match="nothing is overwritten"):
        write(chat_server, tmp_path)
    assert not chat_server.asked()
    assert (tmp_path / "captions.json").read_text() == '{"pug": ["my own pug"]}'


GOOD = [caption("pug", f"own|{index}") for index in range(3)]
BAD_ANSWERS: dict[str, dict[str, Any]] = {
    "refusal": {"say": None, "refusal": "I cannot help with that."},
    "empty": {"say": ""},
    "malformed": {"say": '{"captions": [{"class": "pug", "captions": ['},
    "not even json": {"say": "Sure! What would you like?"},
    "unknown name": {"say": json.dumps({"poodle": GOOD})},
    "numbers": {"say": json.dumps({"pug": [1, None, {"a": 2}, True]})},
    "no choices": {"raw": '{"object": "chat.completion", "choices": []}'},
    "a web page": {"raw": "<html>hello</html>", "type": "text/html"},
    "broken body": {"raw": "{"},
    "deep": {"say": "[" * 50_000},
    "other class's caption": {"say": json.dumps({"pug": ["a rose in a vase on a table"] * 3})},
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_are_survived_and_asked_again(
    chat_server: ChatServer, tmp_path: Path, name: str
) -> None:
    chat_server.configure(faults=[BAD_ANSWERS[name]])
    report = write(chat_server, tmp_path, classes=["pug", "rose"])
    assert not report.missing
    assert (
        2 <= len(chat_server.asked()) <= 3
    )  # an answer with nothing in it may be a refusal of one class alone


ODD_ANSWERS: dict[str, dict[str, Any]] = {
    "code fence": {"dress": "```json\n$GOOD\n```"},
    "prose": {"dress": "Here are {your} captions:\n$GOOD\nI hope that helps!"},
    "other case": {"say": json.dumps({"ROSE": [caption("rose", str(i)) for i in range(3)], "Pug": GOOD})},
    "nested": {"say": json.dumps({"rose": [[caption("rose", str(i))] for i in range(3)], "pug": [GOOD]})},
    "trailing comma": {
        "say": json.dumps({"rose": [caption("rose", str(i)) for i in range(3)], "pug": GOOD})[:-1] + ",}"
    },
    "lines": {
        "say": "\n".join(
            f"{i}. **{name}**: {caption(name, str(i))}" for name in ("rose", "pug") for i in range(3)
        )
    },
    "uncounted": {"uncounted": True},
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_odd_answers_are_understood(chat_server: ChatServer, tmp_path: Path, name: str) -> None:
    chat_server.configure(faults=[ODD_ANSWERS[name]])
    report = write(chat_server, tmp_path, classes=["pug", "rose"])
    assert not report.missing
    assert report.questions == 1
    assert report.tokens_in > 0


def test_an_answer_cut_by_length_halves_the_chunk(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.configure(faults=[{"say": '{"pug": ["a pu', "finish": "length"}])
    assert not write(chat_server, tmp_path, classes=["pug", "rose", "beagle", "lotus"]).missing
    sizes = [request["body"]["messages"][-1]["content"].count(": 3") for request in chat_server.asked()]
    assert sizes == [4, 2, 2]


def test_only_what_is_missing_is_asked_for_again(chat_server: ChatServer, tmp_path: Path) -> None:
    answered = {"pug": GOOD, "rose": [caption("rose", "1"), "a rose"]}
    chat_server.configure(faults=[{"say": json.dumps(answered)}])
    report = write(chat_server, tmp_path, classes=["pug", "rose"])
    again = chat_server.asked()[1]["body"]["messages"][-1]["content"]
    assert "- rose: 2\n" in again
    assert "- pug:" not in again
    assert caption("rose", "1") in again
    assert report.summary.rejected == {"not of 4 to 60 words": 1}
    account = json.loads(meta_path(report.path).read_text())
    assert account["rejected"][0]["caption"] == "a rose"
    stored = tmp_path / "captions.answers" / account["rejected"][0]["answer"][:2]
    assert json.loads((stored / f"{account['rejected'][0]['answer']}.json").read_text())["answer"][
        "text"
    ] == (json.dumps(answered))


def test_missing_captions_are_reported_and_the_rest_is_saved(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    stubborn = {"say": json.dumps({"pug": GOOD, "rose": ["a daffodil in a small green garden"]})}
    chat_server.configure(faults=[stubborn] * 4)
    report = write(chat_server, tmp_path, classes=["pug", "rose"])
    assert [(entry.label, entry.captions, entry.wanted) for entry in report.missing] == [("rose", 0, 3)]
    assert "does not name its class (4)" in report.missing[0].reason
    assert json.loads(report.path.read_text()) == {"pug": GOOD}
    assert len(chat_server.asked()) == 4
    assert not write(chat_server, tmp_path, classes=["pug", "rose"]).missing
    assert list(read_captions(report.path, ["pug", "rose"])) == ["pug", "rose"]


def test_the_token_limit_stops_cleanly_before_it_is_passed(chat_server: ChatServer, tmp_path: Path) -> None:
    classes = [f"class number {index}" for index in range(40)]
    report = write(chat_server, tmp_path, classes=classes, max_tokens_total=6000, concurrency=3)
    assert "limit of 6000 tokens" in str(report.stopped)
    assert 0 < report.questions < 8
    assert report.tokens_in + report.tokens_out <= 6000
    assert len(json.loads(report.path.read_text())) + len(report.missing) == 40
    rest = write(chat_server, tmp_path, classes=classes)
    assert not rest.missing
    assert len(chat_server.asked()) == report.questions + rest.questions == 8


def test_a_class_is_not_given_up_while_every_answer_brings_something(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.configure(most=9)
    assert not write(chat_server, tmp_path, classes=["pug"], per_class=50).missing
    assert len(chat_server.asked()) == 6


def test_a_class_is_given_up_in_the_end_although_answers_still_bring_something(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.configure(most=1, faults=[{}, *[{"say": "no"}] * 3] * 20)
    report = write(chat_server, tmp_path, classes=["pug"], per_class=20)
    assert (report.questions, report.missing[0].captions) == (24, 6)


def test_one_flagged_class_costs_the_others_nothing(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.configure(refuse={"revolver": "the prompt was flagged"})
    classes = [f"class number {index}" for index in range(12)]
    classes[7:7] = ["revolver"]
    report = write(chat_server, tmp_path, classes=classes)
    assert [entry.label for entry in report.missing] == ["revolver"]
    assert "the prompt was flagged" in report.missing[0].reason
    again = write(chat_server, tmp_path, classes=classes)
    assert [entry.label for entry in again.missing] == ["revolver"]


def test_what_is_good_is_saved_before_a_mistake_ends_the_run(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    fault = {"status": 429, "code": "insufficient_quota", "headers": {"x-should-retry": "false"}}
    chat_server.configure(faults=[{}, fault])
    classes = [f"class number {index}" for index in range(15)]
    with pytest.raises(UserError, match="quota"):
        write(chat_server, tmp_path, classes=classes, concurrency=1)
    kept = json.loads((tmp_path / "captions.json").read_text())
    assert list(kept) == classes[:5]
    account = json.loads((tmp_path / "captions.meta.json").read_text())
    assert [entry["label"] for entry in account["missing"]] == classes[5:]
    assert "quota" in account["missing"][0]["reason"]
    rest = write(chat_server, tmp_path, classes=classes)
    assert not rest.missing
    assert rest.questions == 2
    assert {name: rest.captions[name] for name in kept} == kept


LOUD = """
import sys
from pathlib import Path
from dalda.errors import UserError
from dalda.captions.generate import generate_captions

url, out = sys.argv[1:]
print(generate_captions(["pug"], Path(out), llm="openai:tiny", base_url=url, per_class=3))
try:
    generate_captions(["pug"], Path(out).with_name("other.json"), llm="openai:tiny", base_url=url)
except UserError as error:
    print("refused:", error)
"""


def test_the_key_is_sent_but_never_shown(chat_server: ChatServer, tmp_path: Path) -> None:
    """The SDK reads OPENAI_LOG when it is imported, so in a process of its own."""
    chat_server.configure(
        faults=[{"dress": f"your key is {KEY} $GOOD"}, {"status": 400, "message": f"bad {KEY}"}]
    )
    command = [sys.executable, "-c", LOUD, chat_server.url, str(tmp_path / "captions.json")]
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_LOG": "debug"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert all(KEY in request["key"] for request in chat_server.asked())
    assert len(chat_server.asked()) == 2
    assert "Building HTTP request" in done.stderr, "the SDK was to say all it does"
    assert "refused: openai:tiny at" in done.stdout
    assert "bad ***" in done.stdout
    for text in (done.stdout, done.stderr, all_text(tmp_path)):
        assert KEY not in text


def test_a_wrong_key_is_one_sentence_without_the_key(
    chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    chat_server.configure(key="another")
    with pytest.raises(UserError, match="OPENAI_API_KEY") as raised:
        write(chat_server, tmp_path)
    assert KEY not in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("llm", "settings", "message"),
    [
        ("openai:gpt", {}, "OPENAI_API_KEY"),
        ("openai:gpt", {"base_url": "localhost:8000"}, "http://"),
        ("openai:gpt", {"base_url": "http://me:s3cret@host:80a/v1"}, "cannot be read"),
        ("openai:gpt", {"base_url": "http://me:s3c/ret@host/v1"}, "cannot be read"),
        ("openai:", {}, "name the model"),
        ("azure:x", {}, "AZURE_API_KEY"),
        ("claude", {}, "unknown language model 'claude'"),
        ("anthropic:claude", {}, "ANTHROPIC_API_KEY"),
        ("gemini:flash", {}, "GEMINI_API_KEY"),
        ("mistral:small", {}, "MISTRAL_API_KEY"),
        ("bedrock:nova", {}, "AWS_BEARER_TOKEN_BEDROCK"),
        ("transformers:/no/such/folder", {}, "cannot load"),
        ("local", {"base_url": "http://x"}, "--base-url goes with"),
        ("templates", {"base_url": "http://x"}, "--base-url goes with"),
    ],
)
def test_bad_settings_are_clear_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, llm: str, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message) as raised:
        generate_captions(["pug"], tmp_path / "captions.json", llm=llm, **settings)
    assert "s3c" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_lists_that_cannot_be_are_clear_sentences(tmp_path: Path) -> None:
    for classes, message in (([], "no classes"), (["pug", "pug"], "twice"), (["pug", " "], "empty name")):
        with pytest.raises(UserError, match=message):
            generate_captions(classes, tmp_path / "captions.json")


def test_the_templates_metadata_tell_what_was_passed_over(tmp_path: Path) -> None:
    report = generate_captions(["Wolf", "Forest"], tmp_path / "captions.json", per_class=30)
    assert report.summary.rejected["names another class"] > 0
    rejected = json.loads(meta_path(report.path).read_text())["rejected"]
    assert len(rejected) == sum(report.summary.rejected.values())
    assert "forest" in next(one["caption"] for one in rejected if one["label"] == "Wolf")


@pytest.mark.parametrize("llm", ["templates", "openai:gpt"])
def test_a_folder_is_no_caption_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, llm: str) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (Path("."), Path(".."), tmp_path):
        with pytest.raises(UserError, match="is a folder"):
            generate_captions(["pug"], out, llm=llm, base_url=None if llm == "templates" else "http://h/v1")


def test_templates_are_the_default_and_asks_nobody(tmp_path: Path) -> None:
    report = generate_captions(CLASSES, tmp_path / "captions.json", per_class=4)
    assert not report.missing
    assert read_captions(report.path, CLASSES) == report.captions
    assert json.loads(meta_path(report.path).read_text())["llm"] == "templates"
