"""Trees of the three layouts, generated, and splits drawn from METHOD.md's rule by other means."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from dalda.datasets.class_names import published_classes
from dalda.datasets.few_shot import sample_few_shot, split_as_json
from dalda.datasets.image_folder import ImageDataset
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.storage import path_of

Listed = dict[str, dict[str, list[str]]]
"""Part ('train', 'val' or, where there is one list only, 'both') to class to relative paths."""


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())  # loaders look at names, not at pixels


def make_pets(root: Path, *, inside: str = "") -> Listed:
    """Lists whose lines are not sorted by class, with a comment, as in the archive."""
    classes = published_classes("pets")
    listed: Listed = {}
    (root / "annotations").mkdir(parents=True)
    for part, name, per_class in (("train", "trainval.txt", 9), ("val", "test.txt", 8)):
        entries = [(number, index) for number in range(per_class) for index in range(len(classes))]
        entries = [entries[place] for place in np.random.default_rng(5).permutation(len(entries))]
        lines = ["#Image CLASS-ID SPECIES BREED ID"]
        listed[part] = {label: [] for label in classes}
        for number, index in entries:
            stem = f"{classes[index].replace(' ', '_')}_{part}_{number}"
            lines.append(f"{stem} {index + 1} 1 1")
            listed[part][classes[index]].append(f"{inside}{stem}.jpg")
            touch(root / f"{inside}{stem}.jpg")
        (root / "annotations" / name).write_text("\n".join(lines) + "\n\n")
    return listed


def make_pets_with_a_folder_of_images(root: Path) -> Listed:
    return make_pets(root, inside="images/")


def make_flowers102(root: Path) -> Listed:
    classes = published_classes("flowers102")
    labels = np.random.default_rng(6).permutation(np.repeat(np.arange(1, len(classes) + 1), 9))
    root.mkdir(parents=True)
    savemat(root / "imagelabels.mat", {"labels": labels[None, :].astype(np.uint8)})
    listed: dict[str, list[str]] = {label: [] for label in classes}
    for number, label in enumerate(labels, 1):
        touch(root / "jpg" / f"image_{number:05d}.jpg")
        listed[classes[label - 1]].append(f"jpg/image_{number:05d}.jpg")
    return {"both": listed}


def make_caltech101(root: Path) -> Listed:
    listed: dict[str, list[str]] = {}
    for index, label in enumerate(published_classes("caltech101")):
        folder = label.replace(" ", "_").capitalize() if index % 3 else label.replace(" ", "_")
        names = [
            f"101_ObjectCategories/{folder}/image_{number:04d}.jpg" for number in range(1, 9 + index % 4)
        ]
        listed[label] = names
        for name in names:
            touch(root / name)
    touch(root / "101_ObjectCategories" / "BACKGROUND_Google" / "image_0001.jpg")
    touch(root / "101_ObjectCategories" / "BACKGROUND_Google" / "tmp")
    return {"both": listed}


MAKERS: dict[str, tuple[str, Callable[[Path], Listed]]] = {
    "pets": ("pets", make_pets),
    "pets in a folder of images": ("pets", make_pets_with_a_folder_of_images),
    "flowers102": ("flowers102", make_flowers102),
    "caltech101": ("caltech101", make_caltech101),
}


def expected_examples(
    listed: Listed, dataset: str, part: str, seed: int, shots: int | None
) -> list[dict[str, str]]:
    """METHOD.md's rule once more, with a plain slice for the halves (the first has the odd one)."""
    rng = np.random.default_rng(seed)
    found = []
    for label in published_classes(dataset):
        paths = listed.get(part, listed.get("both", {}))[label]
        ids = rng.permutation(len(paths)).tolist()
        middle = (len(ids) + 1) // 2
        half = ids[:middle] if part == "train" else ids[middle:]
        found += [{"path": paths[index], "label": label} for index in half[:shots]]
    return found


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Listed]]:
    base = tmp_path_factory.mktemp("published")
    return {name: (base / name, make(base / name)) for name, (_, make) in MAKERS.items()}


@pytest.mark.parametrize("tree", sorted(MAKERS))
def test_splits_are_those_of_the_rule(tree: str, trees: dict[str, tuple[Path, Listed]]) -> None:
    dataset, (root, listed) = MAKERS[tree][0], trees[tree]
    catalog = load_dataset(dataset, root)
    for seed in (0, 1, 2):
        for shots in (1, 2, 4, None):
            for part in ("train", "val"):
                drawn = split_as_json(sample_few_shot(catalog, part=part, seed=seed, shots=shots))
                assert drawn == {
                    "dataset": dataset,
                    "seed": seed,
                    "shots": shots,
                    "part": part,
                    "classes": list(published_classes(dataset)),
                    "images": expected_examples(listed, dataset, part, seed, shots),
                }


@pytest.mark.parametrize("tree", sorted(MAKERS))
def test_stratified_parts_share_no_image(tree: str, trees: dict[str, tuple[Path, Listed]]) -> None:
    root, _ = trees[tree]
    catalog = load_dataset(MAKERS[tree][0], root)
    train, val = (
        sample_few_shot(catalog, part=part, split_strategy="stratified").images for part in ("train", "val")
    )
    every = {path for files in catalog.parts.values() for paths in files.values() for path in paths}
    assert {example.path for example in train}.isdisjoint(example.path for example in val)
    assert len(train) + len(val) == len(every)


def test_caltech_may_be_named_by_its_inner_folder(trees: dict[str, tuple[Path, Listed]]) -> None:
    root, listed = trees["caltech101"]
    inner = load_dataset("caltech101", root / "101_ObjectCategories")
    names = [example["path"] for example in expected_examples(listed, "caltech101", "train", 0, 1)]
    assert [f"101_ObjectCategories/{path}" for path in paths_of(inner)] == names


def paths_of(catalog: ImageDataset) -> list[str]:
    examples = sample_few_shot(catalog, shots=1).images
    return [example.path.relative_to(catalog.root).as_posix() for example in examples]


@pytest.mark.parametrize("dataset", ["pets", "flowers102", "caltech101"])
def test_a_missing_data_set_says_how_to_get_it(tmp_path: Path, dataset: str) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"is missing.*dalda download {dataset} --root"):
            load_dataset(dataset, root)


def test_what_a_bucket_misses_is_downloaded_to_a_disk_first() -> None:
    with pytest.raises(UserError, match="download pets --root FOLDER` on a disk, and copy it there"):
        load_dataset("pets", path_of("memory://tests/published/pets"))


def test_a_half_extracted_pets_names_what_is_missing(tmp_path: Path) -> None:
    make_pets(tmp_path)
    (tmp_path / "Abyssinian_train_3.jpg").unlink()
    with pytest.raises(
        UserError, match=r"1 of the images .* missing, .*'Abyssinian_train_3\.jpg'.*download"
    ):
        load_dataset("pets", tmp_path)
    (tmp_path / "annotations" / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt is missing.*download pets"):
        load_dataset("pets", tmp_path)


@pytest.mark.parametrize("line", ["stem", "stem 0 1 1", "stem 38 1 1", "stem one 1 1", "stem ² 1 1"])
def test_a_broken_line_of_pets_is_named(tmp_path: Path, line: str) -> None:
    make_pets(tmp_path)
    (tmp_path / "annotations" / "trainval.txt").write_text(f"# list\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2 of .*trainval\.txt is not 'STEM CLASS_ID"):
        load_dataset("pets", tmp_path)


def test_a_stem_of_pets_leads_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_pets(root)
    touch(tmp_path / "outside.jpg")
    (root / "annotations" / "trainval.txt").write_text("../outside 1 1 1\n")
    with pytest.raises(UserError, match=r"missing, the first '\.\./outside\.jpg'"):
        load_dataset("pets", root)


def test_classes_without_images_in_the_lists_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "annotations").mkdir()
    for name in ("trainval.txt", "test.txt"):
        (tmp_path / "annotations" / name).write_text("a 1 1 1\nb 1 1 1\nc 5 1 1\nd 5 1 1\n")
    for stem in "abcd":
        touch(tmp_path / f"{stem}.jpg")
    catalog = load_dataset("pets", tmp_path)
    assert len(catalog.classes) == 37
    assert "35 of 37 classes have no images" in capsys.readouterr().err
    assert {example.label for example in sample_few_shot(catalog, shots=1).images} == {
        "Abyssinian",
        "beagle",
    }


def test_empty_lists_are_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for name in ("trainval.txt", "test.txt"):
        (tmp_path / "annotations" / name).write_text("# nothing\n")
    with pytest.raises(UserError, match="lists no images"):
        load_dataset("pets", tmp_path)


def test_a_half_extracted_flowers102_counts(tmp_path: Path) -> None:
    root = tmp_path / "flowers"
    make_flowers102(root)
    (root / "jpg" / "image_00007.jpg").unlink()
    with pytest.raises(UserError, match=r"has 917 images, but imagelabels\.mat labels 918.*download"):
        load_dataset("flowers102", root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": np.array([[1, 103]])}, "labels other than the numbers from 1 to 102"),
        ({"labels": np.array([[1, 1.5]])}, "labels other than"),
        ({"labels": np.array([["a", "b"]], dtype=object)}, "labels other than"),
        ({"other": np.array([[1, 1]])}, "not a MATLAB file with 'labels'"),
    ],
)
def test_strange_flower_labels_are_refused(tmp_path: Path, content: dict[str, object], words: str) -> None:
    touch(tmp_path / "jpg" / "image_00001.jpg")
    savemat(tmp_path / "imagelabels.mat", content)
    with pytest.raises(UserError, match=words):
        load_dataset("flowers102", tmp_path)


def test_a_label_file_that_is_no_matlab_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "jpg" / "image_00001.jpg")
    (tmp_path / "imagelabels.mat").write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(UserError, match="not a MATLAB file"):
        load_dataset("flowers102", tmp_path)


def test_a_half_extracted_caltech101_names_a_class(tmp_path: Path) -> None:
    make_caltech101(tmp_path)
    for path in (tmp_path / "101_ObjectCategories" / "wrench").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"1 of the 101 classes have no images .*'wrench'.*download"):
        load_dataset("caltech101", tmp_path)


def test_usual_folders_short_names_and_a_misspelt_folder_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the published instructions leave them in `datasets`."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"needs --root DIR, .* no 'datasets/flowers102'"):
        load_dataset("flowers")
    make_flowers102(Path("datasets/flowers102"))
    make_caltech101(Path("datasets/caltech-101"))
    make_pets(Path("datasets/oxford_pet"))
    Path("datasets/oxford_pet/annotations").rename("datasets/oxford_pet/annnotations")
    for name, dataset in (("flowers", "flowers102"), ("caltech", "caltech101"), ("pets", "pets")):
        assert load_dataset(name).dataset == dataset
    for label in ("a", "b"):
        touch(Path("flowers") / label / "1.png")
    assert load_dataset("flowers").classes == ("a", "b")
