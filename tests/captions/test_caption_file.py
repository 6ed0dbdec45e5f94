"""Caption files: the original code's format, read strictly, grown but never overwritten."""

import json
from pathlib import Path

import pytest

from dalda.captions.caption_file import meta_path, read_captions, write_captions_file
from dalda.datasets.class_names import wordings_of
from dalda.errors import UserError


def test_a_book_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "captions.json"
    book = {"猫": ["a photo of a 猫"], "dog/wolf": ["one dog", "two dogs"]}
    write_captions_file(path, book, {"llm": "templates"})
    assert read_captions(path, ["dog/wolf", "猫"]) == book
    assert list(read_captions(path, ["dog/wolf", "猫"])) == ["dog/wolf", "猫"]
    assert json.loads(meta_path(path).read_text()) == {"llm": "templates"}
    assert sorted(file.name for file in path.parent.iterdir()) == ["captions.json", "captions.meta.json"]


def test_single_strings_and_names_in_other_case_are_read(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(
        '\ufeff{"Maine_Coon": "a maine coon asleep", "PUG": ["a pug"], "extra": []}', encoding="utf-8"
    )
    assert read_captions(path, ["maine coon", "pug"]) == {
        "maine coon": ["a maine coon asleep"],
        "pug": ["a pug"],
    }


def test_classes_are_found_by_their_wordings_and_their_names_are_filled_in(tmp_path: Path) -> None:
    """As a language model answers that was asked about `bass fish` and `face`."""
    path = tmp_path / "captions.json"
    path.write_text('{"bass fish": ["a {name} in {water}"], "Face": "a {name}", "faces": ["old"]}')
    wordings = wordings_of("caltech101", ["bass", "faces easy", "faces"])
    assert wordings == {"bass": "bass fish", "faces easy": "closed-up face", "faces": "face"}
    assert read_captions(path, ["bass", "faces"], wordings) == {
        "bass": ["a bass fish in {water}"],
        "faces": ["old"],
    }
    path.write_text('{"closed-up face": ["the {name}"]}')
    assert read_captions(path, ["faces easy"], wordings, underscores=True) == {
        "faces easy": ["the faces_easy"]
    }


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"make it: dalda captions DATASET -o {tmp_path}/none.json"):
        read_captions(tmp_path / "none.json", ["pug"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"pug": ["a pug"]}', "no captions for the class 'beagle'"),
        ('{"beagle": []}', "'beagle' needs a list"),
        ('{"beagle": {"a": 1}}', "'beagle' needs a list"),
        ('{"beagle": ["a beagle", 3]}', "'beagle' is not text but 3"),
        ('{"beagle": ["a beagle", " "]}', "'beagle' is not text"),
        ('{"beagle": ["a\\u0000beagle"]}', "control character"),
        ('["beagle"]', "must hold a JSON object"),
        ('{"beagle": ', "not a captions file"),
        ('{"beagle": ["a beagle"], "pug": ["a pug"], "beagle": ["the beagle"]}', "'beagle' is there twice"),
        ('{"Beagle": ["a beagle"], "BEAGLE": ["the beagle"]}', "'beagle' twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_file_is_a_clear_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_captions(path, ["beagle"])


def test_unreadable_files_are_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"caf\xe9": ["x"]}')
    with pytest.raises(UserError, match="UTF-8"):
        read_captions(tmp_path / "latin.json", ["x"])
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError, match=r"cannot be read|is a folder|there is no"):
            read_captions(missing, ["x"])


def test_a_book_may_grow_but_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    write_captions_file(path, {"pug": ["a pug"]}, {"llm": "templates"})
    write_captions_file(path, {"pug": ["a pug", "the pug"], "beagle": ["a beagle"]}, {"llm": "templates"})
    before = path.read_bytes(), meta_path(path).read_bytes()
    for other in ({"pug": ["a pug"]}, {"pug": ["a pug", "the pug"], "beagle": ["some beagle"]}):
        with pytest.raises(UserError, match="nothing is overwritten"):
            write_captions_file(path, other, {"llm": "other"})
    assert (path.read_bytes(), meta_path(path).read_bytes()) == before


def test_a_file_that_is_no_book_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text("my notes")
    with pytest.raises(UserError, match="not a captions file"):
        write_captions_file(path, {"pug": ["a pug"]}, {})
    meta_path(tmp_path / "other.json").write_text("my notes")
    with pytest.raises(UserError, match="without its captions"):
        write_captions_file(tmp_path / "other.json", {"pug": ["a pug"]}, {})
    assert path.read_text() == meta_path(tmp_path / "other.json").read_text() == "my notes"


def test_a_place_that_cannot_be_written_is_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file. is there already"):
        write_captions_file(tmp_path / "file" / "captions.json", {"pug": ["a pug"]}, {})


def test_a_lone_surrogate_in_the_account_survives(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    write_captions_file(path, {"pug": ["a pug"]}, {"rejected": ["\ud800"]})
    assert json.loads(meta_path(path).read_text()) == {"rejected": ["\ud800"]}
