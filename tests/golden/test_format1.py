"""A synthetic set, a caption file and a run of format 1 are read by every later version."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from dalda.captions.caption_file import read_captions
from dalda.config import ExportConfig
from dalda.datasets.image_io import open_image
from dalda.evaluation.results import read_results
from dalda.generation.set_settings import read_settings
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.workflows.export import export
from dalda.workflows.results import report_inputs

FORMAT1 = Path(__file__).parent / "format1"
CLASSES = ("boat", "chevron")


def test_the_synthetic_set_is_read() -> None:
    folder = FORMAT1 / "synthetic"
    images = SyntheticDataset.existing(folder).synthetic_images()
    captions = json.loads((FORMAT1 / "captions.json").read_text(encoding="utf-8"))
    assert sorted(image.label for image in images) == ["boat", "boat", "chevron", "chevron"]
    for image in images:
        assert image.prompt in captions[image.label]
        assert image.path.name == f"{image.request_id}.png"
        assert open_image(image.path).size == (32, 32)
        assert 0.1 <= image.ip_adapter_scale <= 0.9
        assert image.source_clip_probability is not None
        assert 0 <= image.source_clip_probability <= 1
    assert read_settings(folder)["model"] == "doodle"


def test_the_synthetic_set_is_exported(tmp_path: Path) -> None:
    shutil.copytree(FORMAT1 / "synthetic", tmp_path / "synthetic")
    report = export(ExportConfig(source=tmp_path / "synthetic", to="original", out=tmp_path / "out"))
    assert report.synthetic == 4
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["aug-0-0.png", "aug-1-0.png", "aug-2-0.png", "aug-3-0.png"]


def test_the_caption_file_is_read() -> None:
    assert read_captions(FORMAT1 / "captions.json", CLASSES) == {
        name: [f"a photo of a {name} at sunset", f"a red {name} on wet grass"] for name in CLASSES
    }


def test_the_run_is_read() -> None:
    results = read_results(FORMAT1 / "run")
    assert [(x.arm, x.seed, x.shots) for x in results] == [
        ("real", 0, 1),
        ("real", 1, 1),
        ("dalda", 0, 1),
        ("dalda", 1, 1),
    ]
    with (FORMAT1 / "run/results.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "accuracy"]
    table = {(row["arm"], int(row["seed"])): float(row["value"]) for row in rows}
    assert {(x.arm, x.seed): x.accuracy for x in results} == pytest.approx(table)
    assert list(report_inputs([FORMAT1 / "run"]).runs) == ["run"]
