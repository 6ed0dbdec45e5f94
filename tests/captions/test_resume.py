"""A second run goes on from what the first one left, whatever has changed in between."""

import json
from pathlib import Path

import pytest
from tests.captions.chat_server import ChatServer
from tests.captions.test_generate import CLASSES, write

from dalda.captions.response_cache import ResponseCache
from dalda.errors import UserError
from dalda.storage import lock


def names_asked(server: ChatServer) -> list[str]:
    """The lines `- NAME: COUNT` of all questions."""
    text = "\n".join(request["body"]["messages"][-1]["content"] for request in server.asked())
    return [line[2:].rpartition(":")[0] for line in text.splitlines() if line[-1:].isdigit()]


def strict(text: str) -> int:
    """A tokenizer that finds every caption with an f in it too long."""
    return 78 if "f" in text else 20


def break_off(folder: Path) -> None:
    """As if the process had been killed before it wrote its captions."""
    (folder / "captions.json").unlink()
    (folder / "captions.meta.json").unlink()
    (record,) = (folder / "captions.answers" / "requests").iterdir()
    record.write_text(json.dumps({**json.loads(record.read_text()), "done": False}))


def test_a_class_that_is_new_in_the_list_is_all_that_is_asked_for(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    first = write(chat_server, tmp_path)
    chat_server.configure(reset=True)
    classes = [*CLASSES[:2], "lotus", *CLASSES[2:]]
    second = write(chat_server, tmp_path, classes=classes)
    assert names_asked(chat_server) == ["lotus"]
    assert not second.missing
    assert list(json.loads(second.path.read_text())) == classes
    assert {name: second.captions[name] for name in CLASSES} == first.captions
    account = json.loads((tmp_path / "captions.meta.json").read_text())
    assert account["answers"] == first.questions + second.questions
    assert account["tokens_out"] == first.tokens_out + second.tokens_out


def test_the_captions_of_a_class_that_left_the_list_are_kept(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    first = write(chat_server, tmp_path)
    second = write(chat_server, tmp_path, classes=CLASSES[1:])
    assert second.questions == 0
    assert list(second.captions) == CLASSES[1:]
    assert json.loads(second.path.read_text())[CLASSES[0]] == first.captions[CLASSES[0]]


def test_a_run_again_changes_no_byte(chat_server: ChatServer, tmp_path: Path) -> None:
    write(chat_server, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert write(chat_server, tmp_path).questions == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_fewer_captions_take_none_away(chat_server: ChatServer, tmp_path: Path) -> None:
    write(chat_server, tmp_path)
    before = (tmp_path / "captions.json").read_bytes()
    assert write(chat_server, tmp_path, per_class=1).questions == 0
    assert (tmp_path / "captions.json").read_bytes() == before


@pytest.mark.parametrize("broken_off", [False, True])
def test_other_rules_judge_what_is_new_and_refuse_nothing_that_is_there(
    chat_server: ChatServer, tmp_path: Path, broken_off: bool
) -> None:
    """As when the image model's tokenizer comes to the disk between two runs."""
    first = write(chat_server, tmp_path, classes=["pug", "rose"], per_class=4)
    assert any("f" in text for text in first.captions["pug"])
    if broken_off:
        break_off(tmp_path)
    second = write(chat_server, tmp_path, classes=["pug", "rose"], per_class=5, count_tokens=strict)
    kept = [] if broken_off else [text for captions in first.captions.values() for text in captions]
    new = [text for captions in second.captions.values() for text in captions if text not in kept]
    assert {text for captions in second.captions.values() for text in captions} >= set(kept)
    assert new or second.missing
    assert not any("f" in text for text in new)


def test_a_file_that_was_moved_away_comes_back_for_nothing(chat_server: ChatServer, tmp_path: Path) -> None:
    write(chat_server, tmp_path, per_class=2)
    write(chat_server, tmp_path)
    files = [tmp_path / "captions.json", tmp_path / "captions.meta.json"]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    assert write(chat_server, tmp_path).questions == 0
    assert [file.read_bytes() for file in files] == before


def test_what_was_broken_off_is_taken_up_with_another_aim(chat_server: ChatServer, tmp_path: Path) -> None:
    first = write(chat_server, tmp_path)
    break_off(tmp_path)
    second = write(chat_server, tmp_path, classes=[*CLASSES, "lotus"], per_class=4)
    assert second.tokens_out == 40 * (len(CLASSES) + 4)
    assert all(list(second.captions[name][:3]) == list(first.captions[name]) for name in CLASSES)


def test_a_caption_that_the_user_deleted_is_written_again(chat_server: ChatServer, tmp_path: Path) -> None:
    write(chat_server, tmp_path)
    book = json.loads((tmp_path / "captions.json").read_text())
    gone, book["rose"] = book["rose"], []
    (tmp_path / "captions.json").write_text(json.dumps(book))
    chat_server.configure(reset=True)
    second = write(chat_server, tmp_path)
    assert names_asked(chat_server) == ["rose"]
    assert not set(second.captions["rose"]) & set(gone)
    assert {name: second.captions[name] for name in CLASSES if name != "rose"} == {
        name: book[name] for name in CLASSES if name != "rose"
    }


def test_the_captions_of_another_request_are_refused(chat_server: ChatServer, tmp_path: Path) -> None:
    write(chat_server, tmp_path)
    before = (tmp_path / "captions.json").read_bytes()
    chat_server.configure(reset=True)
    for other in ({"llm": "openai:larger"}, {"seed": 1}, {"domain": "drawings"}):
        with pytest.raises(UserError, match="nothing is overwritten"):
            write(chat_server, tmp_path, **other)
    assert not chat_server.asked()
    assert (tmp_path / "captions.json").read_bytes() == before


def test_two_at_once_do_not_pay_twice(chat_server: ChatServer, tmp_path: Path) -> None:
    folder = tmp_path / "captions.answers"
    folder.mkdir()
    with (
        lock(folder, "busy"),
        pytest.raises(UserError, match="another command is writing captions"),
    ):
        write(chat_server, tmp_path)
    assert not chat_server.asked()
    assert not write(chat_server, tmp_path).missing


@pytest.mark.parametrize("record", ["[]", "{", '{"stage": {}, "before": {}, "done": 1}', '{"stage": 3}'])
def test_a_mangled_record_is_a_clear_sentence(chat_server: ChatServer, tmp_path: Path, record: str) -> None:
    write(chat_server, tmp_path, classes=["pug"])
    (place,) = ResponseCache(tmp_path / "captions.answers").folder.glob("requests/*.json")
    place.write_text(record)
    with pytest.raises(UserError, match="move"):
        write(chat_server, tmp_path, classes=["pug"])
