from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dalda.datasets.few_shot import sample_few_shot, split_as_json
from dalda.datasets.huggingface import read_hugging_face
from dalda.datasets.image_io import open_image
from dalda.errors import UserError

datasets = pytest.importorskip("datasets")
pyarrow_parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def colour(level: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (level, 255 - level, 7))


def table(labels: list[int | None], names: list[str], start: int = 0, column: str = "label") -> Any:
    images = [colour(start + number) for number in range(len(labels))]
    features = datasets.Features({"image": datasets.Image(), column: datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict({"image": images, column: labels}, features=features)


def save_parquet(folder: Path, **splits: Any) -> str:
    folder.mkdir()
    for split, rows in splits.items():
        rows.to_parquet(folder / f"{split}.parquet")
    return str(folder)


def test_a_folder_of_parquet_files_becomes_a_catalog(tmp_path: Path) -> None:
    names = ["zebra", "猫", "a/b"]
    name = save_parquet(
        tmp_path / "set", train=table([0, 1, 2, 0], names), test=table([2, 1, 0], names, start=50)
    )
    catalog = read_hugging_face(name)
    assert catalog.dataset == f"hf:{name}"
    assert catalog.classes == ("zebra", "猫", "a/b")
    assert {part: [len(files) for files in lists.values()] for part, lists in catalog.parts.items()} == {
        "train": [2, 1, 1],
        "val": [1, 1, 1],
    }
    second = open_image(catalog.parts["train"]["zebra"][1])
    assert second.getpixel((0, 0)) == (3, 252, 7)
    assert catalog.parts["val"]["a/b"][0].is_relative_to(catalog.root)
    assert split_as_json(sample_few_shot(catalog))["images"] == [
        {"path": f"train/{example.sha256}.img", "label": example.label}
        for example in sample_few_shot(catalog).images
    ]


def test_a_path_in_a_row_leads_nowhere_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colour(1).save(tmp_path / "private.png")
    plain = table([0, 1], ["cat", "dog"]).cast_column("image", datasets.Image(decode=False))
    cells = [*plain["image"], {"bytes": None, "path": str(tmp_path / "private.png")}]
    hostile = datasets.Dataset.from_dict({"image": cells, "label": [0, 1, 1]}, features=plain.features)
    (tmp_path / "set").mkdir()
    pyarrow_parquet.write_table(hostile.data.table, tmp_path / "set" / "train.parquet")  # embeds nothing
    catalog = read_hugging_face(str(tmp_path / "set"))
    assert len(catalog.parts["train"]["dog"]) == 1
    assert "1 rows of train" in capsys.readouterr().err


def test_images_are_written_once(tmp_path: Path) -> None:
    name = save_parquet(tmp_path / "set", train=table([0, 1], ["cat", "dog"]))
    first = read_hugging_face(name, tmp_path / "mine")
    files = sorted(path for path in (tmp_path / "mine").rglob("*") if path.is_file())
    written = [path.stat().st_mtime_ns for path in files]
    assert read_hugging_face(name, tmp_path / "mine") == first
    assert [path.stat().st_mtime_ns for path in files] == written
    assert len(files) == 2
    assert set(first.parts) == {"train"}


def test_a_data_set_saved_to_disk_is_read(tmp_path: Path) -> None:
    both = datasets.DatasetDict(
        train=table([0, 1], ["cat", "dog"], column="breed"),
        validation=table([1, 0], ["cat", "dog"], 9, column="breed"),
    )
    both.save_to_disk(tmp_path / "saved")
    catalog = read_hugging_face(str(tmp_path / "saved"))
    assert (catalog.classes, set(catalog.parts)) == (("cat", "dog"), {"train", "val"})


def test_an_image_folder_with_labels_in_words_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "train"
    folder.mkdir(parents=True)
    lines = []
    for number, label in enumerate(["dog", "cat", "dog"]):
        colour(number).save(folder / f"{number}.png")
        lines.append(f'{{"file_name": "{number}.png", "label": "{label}"}}')
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    catalog = read_hugging_face(str(tmp_path / "out"))
    assert {label: len(files) for label, files in catalog.parts["train"].items()} == {"cat": 1, "dog": 2}


def test_rows_without_a_label_are_counted_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = save_parquet(tmp_path / "set", train=table([0, -1, 1, None], ["cat", "dog", "never"]))
    catalog = read_hugging_face(name)
    assert catalog.classes == ("cat", "dog")
    assert "2 rows of train of hf:" in capsys.readouterr().err


def test_what_has_no_labelled_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hf:.*nowhere cannot be loaded"):
        read_hugging_face(str(tmp_path / "nowhere"))
    text = save_parquet(
        tmp_path / "text", train=datasets.Dataset.from_dict({"text": ["a"], "label": ["b"]})
    )
    with pytest.raises(UserError, match=r"needs one column of images .* but has text, label"):
        read_hugging_face(text)
    one = save_parquet(tmp_path / "one", train=table([0, 0], ["cat", "dog"]))
    with pytest.raises(UserError, match="fewer than two classes"):
        read_hugging_face(one)
    uneven = save_parquet(
        tmp_path / "uneven", train=table([0, 1], ["cat", "dog"]), test=table([0], ["cat", "dog"])
    )
    with pytest.raises(UserError, match="class 'dog' has no images in val"):
        read_hugging_face(uneven)
