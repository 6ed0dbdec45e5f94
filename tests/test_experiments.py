"""The studies of `experiments/` can be run: a dry run of each on a data set of the right layout."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat

from dalda.cli import app
from dalda.datasets.class_names import published_classes

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
PER_CLASS = 32
"""The fewest of which half is 16 shots."""


def make_tree(dataset: str, root: Path) -> Path:
    """The layout of a published set, its files small grey images."""
    root.mkdir(parents=True)
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "grey").save(file, "JPEG")

    def put(name: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(file.getvalue() + name.encode())  # no two of them are the same file

    classes = published_classes(dataset)
    numbers = range(PER_CLASS)
    if dataset == "pets":
        (root / "annotations").mkdir()
        for part in ("trainval", "test"):
            stems = [
                (f"{part}_{index}_{number}", index) for index in range(len(classes)) for number in numbers
            ]
            lines = [f"{stem} {index + 1} 1 1" for stem, index in stems]
            (root / "annotations" / f"{part}.txt").write_text("\n".join(lines))
            for stem, _ in stems:
                put(f"images/{stem}.jpg")
    if dataset == "flowers102":
        labels = np.repeat(np.arange(1, len(classes) + 1), PER_CLASS)
        savemat(root / "imagelabels.mat", {"labels": labels[None, :]})
        for number in range(len(labels)):
            put(f"jpg/image_{number:05d}.jpg")
    if dataset == "caltech101":
        for label in classes:
            for number in numbers:
                put(f"101_ObjectCategories/{label}/image_{number:04d}.jpg")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "classes"), [("pets", 37), ("flowers102", 102), ("caltech101", 101)])
def test_a_dry_run_of_the_papers_grid(
    dataset: str, classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    root = make_tree(dataset, tmp_path / "tree")
    captions = {name: [f"a {name} outside"] for name in published_classes(dataset)}
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions" / f"{dataset}.json").write_text(json.dumps(captions))
    words = ["run", str(EXPERIMENTS / f"{dataset}.yaml"), "--root", str(root), "--dry-run", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["trials"], answer["synthetic_sets"]) == (75 + 45, 3 * (2 + 2 * 5))
    assert answer["images"] == 3 * classes * 10 * (2 * 16 + 2 * 31)
    assert answer["generating_seconds"] is None
    assert "the time is unknown" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("doodle_cache")
@pytest.mark.parametrize(
    ("study", "trials", "sets", "images"),
    [
        ("answers", 5 * (4 + 3), 5 * 4, 5 * 4 * 12 * 2 * 4),
    ],
)
def test_a_dry_run_on_doodles(
    study: str, trials: int, sets: int, images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", str(EXPERIMENTS / f"{study}.yaml"), "--dry-run", "--json"])
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["trials"], answer["synthetic_sets"], answer["images"]) == (trials, sets, images)
    assert answer["generating_seconds"] > 0
    assert answer["training_seconds"] > 0


@pytest.mark.parametrize(
    ("study", "changed"),
    [
        ("answers-iid", {"dataset": "doodles-iid"}),
        ("answers-scratch", {"train": {"backbone": "scratch"}}),
    ],
)
def test_the_other_answers_differ_in_one_thing(study: str, changed: dict[str, object]) -> None:
    asked, other = (
        yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text()) for name in ("answers", study)
    )
    assert other == asked | changed
