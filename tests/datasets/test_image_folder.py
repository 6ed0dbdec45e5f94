import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dalda.datasets import image_folder
from dalda.datasets.class_names import wording_of
from dalda.datasets.image_folder import read_folder, refuse_output_inside
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (2, 2)).save(folder / name, "PNG")


def test_classes_and_files_are_sorted_and_hidden_ones_left_out(tmp_path: Path) -> None:
    put(tmp_path / "dog", "b.png", "a.PNG", ".thumb.png")
    put(tmp_path / "cat", "2.jpg", "10.jpg")
    put(tmp_path / ".cache", "x.png")
    (tmp_path / "dog" / "notes.txt").write_text("about dogs")
    catalog = read_folder(tmp_path)
    assert catalog.dataset == tmp_path.name
    assert catalog.classes == ("cat", "dog")
    assert [path.name for path in catalog.parts["train"]["cat"]] == ["10.jpg", "2.jpg"]
    assert [path.name for path in catalog.parts["train"]["dog"]] == ["a.PNG", "b.png"]
    assert set(catalog.parts) == {"train"}
    assert not catalog.halved


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_parts_are_found_in_train_and_val_or_test(tmp_path: Path, held_out: str) -> None:
    for part in ("train", held_out):
        put(tmp_path / part / "cat", f"{part}.png")
        put(tmp_path / part / "dog", f"{part}.png")
    catalog = read_folder(tmp_path, "doodles", halved=True)
    assert (catalog.dataset, catalog.halved, catalog.classes) == ("doodles", True, ("cat", "dog"))
    assert catalog.parts["train"]["cat"] == (tmp_path / "train" / "cat" / "train.png",)
    assert catalog.parts["val"]["dog"] == (tmp_path / held_out / "dog" / f"{held_out}.png",)


def test_val_goes_before_test(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        put(tmp_path / part / "cat", f"{part}.png")
        put(tmp_path / part / "dog", f"{part}.png")
    assert read_folder(tmp_path).parts["val"]["cat"][0].name == "val.png"


def test_train_may_be_the_name_of_a_class(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.png")
    put(tmp_path / "tram", "a.png")
    assert read_folder(tmp_path).classes == ("train", "tram")


@pytest.mark.parametrize("name", ["猫", "a∕b", "a\\b", "..", "caf" + "e\u0301", "<b>&", "con "])
def test_a_class_may_be_called_anything(tmp_path: Path, name: str) -> None:
    name = "odd" + name
    put(tmp_path / name, "1.png")
    put(tmp_path / "plain", "1.png")
    catalog = read_folder(tmp_path)
    label = unicodedata.normalize("NFC", name)
    assert label in catalog.classes
    assert catalog.parts["train"][label] == (tmp_path / name / "1.png",)


def nothing(_: Path) -> None:
    """An empty folder."""


def flat(folder: Path) -> None:
    put(folder, "1.png")


def empty_class(folder: Path) -> None:
    put(folder / "cat", "1.png")
    (folder / "dog").mkdir()


def one_class(folder: Path) -> None:
    put(folder / "cat", "1.png")


def flat_train(folder: Path) -> None:
    put(folder / "train", "1.png")


def two_spellings(folder: Path) -> None:
    put(folder / "caf\u00e9", "1.png")
    put(folder / "cafe\u0301", "1.png")


def odd_parts(folder: Path) -> None:
    for place in ("train/cat", "train/dog", "val/cat", "val/fox"):
        put(folder / place, "1.png")


def from_a_phone(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        (folder / name / "IMG_1.HEIC").touch()


def unpacked(folder: Path) -> None:
    put(folder / "archive/pets/train/cat", "1.png")
    put(folder / "archive/pets/train/dog", "1.png")


def deeper(folder: Path) -> None:
    put(folder / "cat/day 1", "1.png")
    put(folder / "dog/day 1", "1.png")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (from_a_phone, "class 'cat' has HEIC images only in .*: save them as JPEG"),
        (unpacked, "holds no class folders, but .*archive/pets seems to: name that folder"),
        (deeper, "class 'cat' lie deeper, as .*cat/day 1/1.png: move them into .*cat itself"),
        (nothing, "no class folders"),
        (flat, "images lie directly in"),
        (flat_train, "images lie directly in .*train"),
        (empty_class, "class 'dog' has no images"),
        (one_class, r"only one class \('cat'\)"),
        (two_spellings, "both called 'caf\u00e9'"),
        (odd_parts, "class 'dog' is in one part of .* only"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_in_words(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=words):
        read_folder(tmp_path)


def test_no_folder_and_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file is not a folder"):
        read_folder(tmp_path / "file")
    (tmp_path / "train.csv").write_text("id,label")
    with pytest.raises(UserError, match=r"not a table; sort them into .* \(docs/table-of-labels.md"):
        read_folder(tmp_path / "train.csv")


def test_images_of_a_phone_are_not_skipped_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / name, "1.png")
    (tmp_path / "cat/a.txt").touch()
    (tmp_path / "cat/IMG_1.heic").touch()
    read_folder(tmp_path)
    assert "2 entries of" in (note := capsys.readouterr().err)
    assert "IMG_1.heic; HEIC images are not read: save them as JPEG" in note


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    make_pets_like(tmp_path)
    for method in ("iterdir", "is_dir", "exists"):  # root, who may run the tests, reads everything
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, refuse)
            for dataset, root in ((str(tmp_path), None), ("pets", tmp_path)):
                with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
                    load_dataset(dataset, root)


def make_pets_like(root: Path) -> None:
    put(root / "annotations")
    for name in ("trainval.txt", "test.txt"):
        (root / "annotations" / name).write_text("a 1 1 1\n")


def test_what_is_left_out_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "cat", "1.png", "2.heic")
    put(tmp_path / "dog" / "older", "1.png")
    put(tmp_path / "dog", "1.png")
    put(tmp_path, "direct.png")
    read_folder(tmp_path)
    assert f"3 entries of {tmp_path} are not images in a class folder" in capsys.readouterr().err


def test_names_that_are_not_unicode_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "plain", "1.png")
    put(tmp_path / "odd\udce9", "1.png")
    with pytest.raises(UserError, match=r"not valid Unicode.* \('odd\\udce9'\)"):
        read_folder(tmp_path)


def test_a_published_set_needs_a_root_and_a_folder_has_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pets needs --root DIR"):
        load_dataset("pets")
    put(tmp_path / "cat", "1.png")
    put(tmp_path / "dog", "1.png")
    with pytest.raises(UserError, match="--root goes with pets, flowers102, caltech101 only"):
        load_dataset(str(tmp_path), tmp_path)
    assert load_dataset(str(tmp_path)).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("dataset", "label", "wording"),
    [
        ("caltech101", "bass", "bass fish"),
        ("caltech101", "faces easy", "closed-up face"),
        ("pets", "shiba inu", "shiba inu"),
        ("mine", "golden_retriever", "golden retriever"),
        ("mine", "two\nlines", "two lines"),
        ("mine", "_", "_"),
    ],
)
def test_a_caption_gets_words_that_read_well(dataset: str, label: str, wording: str) -> None:
    assert wording_of(dataset, label) == wording


def test_a_place_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(UserError, match="not valid Unicode text: rename it"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["tab\there", "dog\r", "two\nlines", "\x1b[31mred"])
def test_a_name_with_a_control_character_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "cat", "a.png")
    put(tmp_path / name, "a.png")
    with pytest.raises(UserError, match="control character") as refused:
        read_folder(tmp_path)
    assert str(refused.value).isprintable()


LAYOUTS = [
    (train, held_out)
    for train in ("train", "Training", "TRAIN")
    for held_out in ("val", "valid", "Validation", "VAL", "test", "testing", "dev", "Eval")
]


@pytest.mark.parametrize(("train", "held_out"), LAYOUTS)
def test_parts_have_many_names(tmp_path: Path, train: str, held_out: str) -> None:
    for part in (train, held_out):
        put(tmp_path / part / "cat", f"{part}.png")
        put(tmp_path / part / "dog", f"{part}.png")
    parts = read_folder(tmp_path).parts
    assert parts["train"]["cat"] == (tmp_path / train / "cat" / f"{train}.png",)
    assert parts["val"]["dog"] == (tmp_path / held_out / "dog" / f"{held_out}.png",)


def test_a_part_that_is_not_used_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "valid", "test", "unlabelled"):
        put(tmp_path / part / "cat", f"{part}.png")
        put(tmp_path / part / "dog", f"{part}.png")
    assert read_folder(tmp_path).parts["val"]["cat"][0].name == "valid.png"
    assert "'train' and 'valid' are used; not used: test, unlabelled" in capsys.readouterr().err


@pytest.mark.parametrize("pair", [("train", "Train"), ("train", "training"), ("val", "VAL")])
def test_two_parts_of_one_kind_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    for part in {"train", *pair}:
        put(tmp_path / part / "cat", "a.png")
        put(tmp_path / part / "dog", "a.png")
    with pytest.raises(UserError, match=r"has the parts .* rename one"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["test tube", "dev", "eval", "valid-stamp", "test", "val", "Training day"])
def test_a_class_may_be_called_like_a_part(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, "a.png")
    put(tmp_path / "zebra", "a.png")
    data = read_folder(tmp_path)
    assert (set(data.classes), set(data.parts)) == ({name, "zebra"}, {"train"})


@pytest.mark.parametrize(
    ("out", "inside"), [("more", True), ("dog/more", True), (".", True), ("../out", False)]
)
def test_output_among_the_classes_is_refused(tmp_path: Path, out: str, inside: bool) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / "set" / name, "a.png")
    data = read_folder(tmp_path / "set")
    if inside:
        with pytest.raises(UserError, match="lies among the classes"):
            refuse_output_inside(tmp_path / "set" / out, data)
    else:
        refuse_output_inside(tmp_path / "set" / out, data)


def test_output_beside_the_parts_is_harmless(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / "train" / name, "a.png")
    data = read_folder(tmp_path)
    refuse_output_inside(tmp_path / "out", data)
    with pytest.raises(UserError, match="lies among the classes"):
        refuse_output_inside(tmp_path / "train" / "out", data)


NAMES = st.sampled_from(
    [
        "train",
        "Train",
        "training",
        "val",
        "valid",
        "test",
        "dev",
        "dog",
        "cat",
        "test tube",
        "valid-stamp",
        ".git",
    ]
)
FILES = st.sets(st.sampled_from(["a.png", "B.JPG", "c.txt", ".d.png", "e.webp"]), max_size=3)
CLASS_FOLDERS = st.dictionaries(NAMES, FILES, max_size=4)
TREES = st.dictionaries(NAMES, st.tuples(FILES, CLASS_FOLDERS), max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    tree={part: (set(), {"dog": {"a.png"}, "cat": {"a.png"}}) for part in ("train", "val")}, loose={"a.png"}
)
@given(tree=TREES, loose=FILES)
def test_whatever_the_layout_no_image_is_left_out_without_a_word(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    tree: dict[str, tuple[set[str], dict[str, set[str]]]],
    loose: set[str],
) -> None:
    """Each image is in a class, or its folder is named, or the whole is refused."""
    folder, notes = tmp_path_factory.mktemp("layout"), list[str]()
    monkeypatch.setattr(image_folder, "note", notes.append)
    paths = [folder / name for name in loose]
    for part, (files, classes) in tree.items():
        paths += [folder / part / name for name in files]
        paths += [folder / part / label / name for label, inside in classes.items() for name in inside]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        found = read_folder(folder)
    except UserError:
        return
    used = {path for files in found.parts.values() for paths in files.values() for path in paths}
    hidden = {
        path for path in paths if any(piece.startswith(".") for piece in path.relative_to(folder).parts)
    }
    for path in {path for path in paths if path.suffix != ".txt"} - used - hidden:
        part, *_ = path.relative_to(folder).parts
        assert any(part in line or "not images in a class folder" in line for line in notes), path
    assert all(
        path.parent.name == label
        for files in found.parts.values()
        for label, paths in files.items()
        for path in paths
    )
