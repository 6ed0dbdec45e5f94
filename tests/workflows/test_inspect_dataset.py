"""`dalda inspect`: what it counts, and every kind of finding."""

from pathlib import Path

import pytest
from PIL import Image

from dalda.cli.output import lines_of
from dalda.config import InspectConfig
from dalda.errors import UserError
from dalda.seeding import generator_of
from dalda.workflows.inspect_dataset import DatasetReport, inspect_dataset


def photo(path: Path, *key: int, side: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = generator_of(0, "photo", *key).integers(0, 256, (6, 8, 3)).astype("uint8")
    Image.fromarray(small).resize((side + 10, side), Image.Resampling.BICUBIC).save(path)


def dataset(root: Path, classes: dict[str, int]) -> Path:
    for number, (label, count) in enumerate(classes.items()):
        for index in range(count):
            photo(root / label / f"{index}.png", number, index, side=40 + index)
    return root


def inspected(root: Path, hold_out: float = 0.5) -> DatasetReport:
    return inspect_dataset(InspectConfig(dataset=str(root), hold_out=hold_out))


def test_it_counts_classes_parts_and_sides(tmp_path: Path) -> None:
    report = inspected(dataset(tmp_path, {"heron": 8, "owl": 4}))
    assert report.split == {"train": 6, "val": 6}
    assert report.classes == {"heron": {"train": 4, "val": 4}, "owl": {"train": 2, "val": 2}}
    assert report.imbalance == 2
    assert (report.shorter_side["min"], report.shorter_side["max"]) == (40, 47)
    assert lines_of(report)[-1] == "nothing suspicious was found"


def test_without_a_held_out_part_there_is_no_validation(tmp_path: Path) -> None:
    assert inspected(dataset(tmp_path, {"heron": 2, "owl": 2}), hold_out=0).split == {"train": 4}


def test_every_kind_of_finding_is_listed(tmp_path: Path) -> None:
    root = dataset(tmp_path, {"train/heron": 3, "train/n99999999": 3, "val/heron": 2, "val/n99999999": 2})
    photo(root / "val/heron/copy.png", 0, 1, side=41)
    photo(root / "train/heron/twice.png", 0, 0, side=40)
    (root / "train/n99999999/torn.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    report = inspected(root)
    assert len(report.bad) == 1
    assert "torn.png" in report.bad[0]
    assert report.duplicates == 1
    assert len(report.leakage) == 1
    assert "val" in report.leakage[0]
    assert report.unclear == ("n99999999",)
    text = "\n".join(lines_of(report))
    for words in (
        "cannot be used: ",
        "duplicates within a part: 1 image",
        "are also in train",
        "class_names.csv",
    ):
        assert words in text


def test_a_wording_of_the_user_is_clear(tmp_path: Path) -> None:
    root = dataset(tmp_path, {"0": 2, "1": 2})
    assert inspected(root).unclear == ("0", "1")
    (root / "class_names.csv").write_text("0,heron\n1,owl\n")
    assert inspected(root).unclear == ()


def test_what_is_no_data_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        inspected(tmp_path / "nowhere")
