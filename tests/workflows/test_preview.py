"""OUT/preview.jpg: drawn while images are generated, the same at the end, and no part of the set."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.workflows.drawn_set import drawn_set

import dalda
from dalda.config import ExportConfig
from dalda.datasets.registry import load_dataset
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.workflows import preview
from dalda.workflows.export import export
from dalda.workflows.preview import PREVIEW, Preview


def test_it_is_drawn_after_every_so_many_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = SyntheticDataset.existing(drawn_set(tmp_path))
    images = dataset.synthetic_images()
    drawn: list[int] = []
    monkeypatch.setattr(preview, "draw", lambda _, shown: drawn.append(len(list(shown))))
    running = Preview(dataset, 4)
    for image in images[:10]:
        running.add([image])
    assert drawn == [4, 8]


def test_the_last_one_depends_on_the_set_alone(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    dataset = SyntheticDataset.existing(out)
    Preview(dataset, 1).finish()
    first = (out / PREVIEW).read_bytes()
    Preview(dataset, 1).add(dataset.synthetic_images()[5:6])
    assert (out / PREVIEW).read_bytes() != first
    Preview(dataset, 1).finish()
    assert (out / PREVIEW).read_bytes() == first
    with Image.open(out / PREVIEW) as sheet:
        assert sheet.format == "JPEG"
        assert min(sheet.size) > 300


def test_it_is_no_part_of_the_set(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    before = dalda.load(out).images
    Preview(SyntheticDataset.existing(out), 1).finish()
    assert dalda.load(out).images == before
    assert sum(map(len, load_dataset(str(out)).parts["train"].values())) == len(before)
    for form in ("folder", "hf", "coco"):
        export(ExportConfig(source=out, out=tmp_path / form, to=form))
        assert not list((tmp_path / form).rglob(PREVIEW))


def test_augment_draws_it_unless_it_is_turned_off(tmp_path: Path) -> None:
    options: dict[str, Any] = {"shots": 1, "per_image": 1, "steps": 1, "only_classes": ("car",)}
    dalda.augment("doodles", out=tmp_path / "a", preview_every=1, **options)
    dalda.augment("doodles", out=tmp_path / "b", preview_every=0, **options)
    dalda.augment("doodles", out=tmp_path / "c", **options)
    assert (tmp_path / "a" / PREVIEW).read_bytes() == (tmp_path / "c" / PREVIEW).read_bytes()
    assert not (tmp_path / "b" / PREVIEW).exists()
    train = "train/metadata.jsonl"
    names = [
        line.split('"request_id"')[1][:40] for line in (tmp_path / "a" / train).read_text().splitlines()
    ]
    assert names == [
        line.split('"request_id"')[1][:40] for line in (tmp_path / "b" / train).read_text().splitlines()
    ]


def test_a_sheet_that_cannot_be_written_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = drawn_set(tmp_path)
    (tmp_path / "mine.jpg").write_text("precious")
    (out / PREVIEW).symlink_to(tmp_path / "mine.jpg")
    Preview(SyntheticDataset.existing(out), 1).finish()
    assert "was not drawn" in capsys.readouterr().err
    assert (tmp_path / "mine.jpg").read_text() == "precious"


def test_a_source_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    for image in (tmp_path / "real").rglob("*.png"):
        image.rename(image.with_suffix(".gone"))
    Preview(SyntheticDataset.existing(out), 1).finish()
    assert (out / PREVIEW).is_file()
