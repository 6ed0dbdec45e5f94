"""Wordings: from the folder's name, a published list, or the user's own table."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from dalda.config import AugmentConfig
from dalda.datasets.class_names import class_wordings, say_unclear, unclear_names, wordings_of
from dalda.datasets.few_shot import sample_few_shot
from dalda.datasets.image_folder import read_folder
from dalda.errors import UserError
from dalda.models.clip import Clip
from dalda.models.presets import located, preset_named
from dalda.workflows.captions import captions_for
from dalda.workflows.real_images import score_examples, split_of

CAFE = "caf\u00e9_noir"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("german_shepherd", "tabby_cat", unicodedata.normalize("NFD", CAFE))):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32), (80 * number, 20, 200)).save(tmp_path / name / "0.png")
    return tmp_path


def test_a_wording_has_spaces_for_underscores(folder: Path) -> None:
    data = read_folder(folder)
    assert wordings_of(data.dataset, data.classes, data.root) == {
        CAFE: "caf\u00e9 noir",
        "german_shepherd": "german shepherd",
        "tabby_cat": "tabby cat",
    }
    assert wordings_of("pets", ["Abyssinian"]) == {"Abyssinian": "Abyssinian"}
    assert wordings_of("caltech101", ["bass"]) == {"bass": "bass fish"}


@pytest.mark.parametrize("head", ["", "folder,wording\n"])
def test_a_table_in_the_data_set_goes_first(folder: Path, head: str) -> None:
    name = unicodedata.normalize("NFD", CAFE)
    table = f'{head}german_shepherd,"  Alsatian  dog"\n\n{name},"black coffee, strong"\n'
    (folder / "class_names.csv").write_text("\ufeff" + table, encoding="utf-8")
    split = sample_few_shot(read_folder(folder))
    assert list(class_wordings(split).values()) == ["black coffee, strong", "Alsatian dog", "tabby cat"]
    assert split.classes == (CAFE, "german_shepherd", "tabby_cat")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("poodle,a poodle\n", "names the class 'poodle', which the data set does not have"),
        ("tabby_cat\n", "entry 1 .* is not FOLDER,WORDING"),
        ("tabby_cat, \n", "entry 1 .* is not FOLDER,WORDING"),
        ("tabby_cat,a\ntabby_cat,b\n", "names the class 'tabby_cat' twice"),
        ('"tabby_cat,a', "cannot be read"),
        (b"\xff\xfe\x00", "is not text"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(folder: Path, table: str | bytes, reason: str) -> None:
    data = table if isinstance(table, bytes) else table.encode()
    (folder / "class_names.csv").write_bytes(data)
    with pytest.raises(UserError, match=reason):
        class_wordings(sample_few_shot(read_folder(folder)))


def test_captions_and_clip_read_the_wording_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wording for all: CLIP, which never saw underscores, and the captions."""
    (folder / "class_names.csv").write_text("tabby_cat,striped cat\n")
    split = split_of(AugmentConfig(dataset=str(folder), out=folder.parent / "out"))
    captions = captions_for(split, "photos", 0)
    assert all("striped cat" in caption for caption in captions["tabby_cat"])
    assert all("german shepherd" in caption for caption in captions["german_shepherd"])
    seen: list[list[str]] = []
    text_features = Clip.text_features

    def watched(self: Clip, class_names: list[str]) -> object:
        seen.append(list(class_names))
        return text_features(self, class_names)

    monkeypatch.setattr(Clip, "text_features", watched)
    score_examples(split, Clip.load(located(preset_named("doodle").clip)))
    assert seen == [["caf\u00e9 noir", "german shepherd", "striped cat"]]


@pytest.mark.parametrize("name", ["0", "017", "a", "n02112018", "class 3", "class_3", "ok", "NG", "", "-"])
def test_names_that_say_nothing_are_unclear(name: str) -> None:
    assert unclear_names([name]) == [name]


@pytest.mark.parametrize("name", ["owl", "boeing 747", "class act", "ox", "\u732b", "nandu", "okapi"])
def test_names_of_things_are_clear(name: str) -> None:
    assert unclear_names([name]) == []


def test_augment_says_which_names_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("0", "ok", "n02112018", "n99999999", "heron"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (32, 32), (len(name) * 20, 20, 200)).save(tmp_path / name / "0.png")
    split = sample_few_shot(read_folder(tmp_path))
    assert list(class_wordings(split).values()) == ["0", "heron", "Pomeranian", "n99999999", "ok"]
    say_unclear(split)
    note = capsys.readouterr().err
    assert "3 class names do not say what the images show ('0', 'n99999999', 'ok')" in note
    assert str(tmp_path / "class_names.csv") in note
    (tmp_path / "class_names.csv").write_text("0,egret\nok,stork\nn99999999,crane\n")
    say_unclear(sample_few_shot(read_folder(tmp_path)))
    assert capsys.readouterr().err == ""
