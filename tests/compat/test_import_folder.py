"""Images of the original DALDA code become a synthetic set, through the command line."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dalda.cli import app
from dalda.compat.prompt_table import TABLE
from dalda.generation.synthetic_dataset import SyntheticDataset

HEADER = [
    "source_image_path",
    "aug_prompt_path",
    "used_prompt",
    "scale",
    "source_clip_probability",
    "threshold_clipscore",
]


def dalda(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def noise(*seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 20, 3), np.uint8))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """As in Caltech101, the classes' images have the same names."""
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            noise(len(name), ord(name[0]), number).save(tmp_path / "set" / name / f"image_{number:04}.png")
    return tmp_path / "set"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources of each class, two repeats."""
    made = tmp_path / "aug"
    made.mkdir()
    rows: list[list[object]] = []
    for index, (name, number) in enumerate([("cat", 2), ("cat", 0), ("dog", 1), ("dog", 2)]):
        for repeat in range(2):
            noise(index, repeat).save(made / f"aug-{index}-{repeat}.png")
            source = f"/home/author/data/{name}/image_{number:04}.png"
            prompt = f"best quality, high quality, a {name} <b>"
            rows.append([source, f"aug/x/aug-{index}-{repeat}.png", prompt, 0.25, 0.9, 0.13])
    write(made, rows)
    return made


def write(folder: Path, rows: list[list[object]]) -> None:
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_images_become_samples_with_all_that_is_known(
    folder: Path, dataset: Path, tmp_path: Path
) -> None:
    before = contents(folder)
    result = dalda("import", folder, dataset, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["images"], report["kept"], report["skipped"]) == (8, 8, [])
    store = SyntheticDataset.existing(tmp_path / "out")
    samples = store.synthetic_images()
    assert [sample.label for sample in samples] == ["cat"] * 4 + ["dog"] * 4
    source = dataset / "cat" / "image_0002.png"
    assert samples[0].source == source
    assert samples[0].source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert Image.open(samples[5].path).tobytes() == Image.open(folder / "aug-2-1.png").tobytes()
    line = next(store.lines())
    assert (line["method"], line["seed"], line["ip_adapter_scale_mean"]) == ("original", None, 0.13)
    assert line["prompt"].endswith("a cat <b>")
    assert (line["steps"], line["guidance_scale"]) == (None, None)
    assert contents(folder) == before


def test_steps_and_guidance_are_recorded_only_where_the_user_knows_them(
    folder: Path, dataset: Path, tmp_path: Path
) -> None:
    words = ("import", folder, dataset, "-o", tmp_path / "out", "--steps", 30, "--guidance-scale", 7.5)
    assert dalda(*words).exit_code == 0
    store = SyntheticDataset.existing(tmp_path / "out")
    assert {(line["steps"], line["guidance_scale"]) for line in store.lines()} == {(30, 7.5)}
    assert "\n  steps: 30\n" in (tmp_path / "out/dalda.yaml").read_text()


def test_a_second_run_changes_nothing_and_a_broken_one_goes_on(
    folder: Path, dataset: Path, tmp_path: Path
) -> None:
    assert dalda("import", folder, dataset, "-o", tmp_path / "out").exit_code == 0
    whole = contents(tmp_path / "out")
    metadata = tmp_path / "out" / "train" / "metadata.jsonl"
    metadata.write_bytes(metadata.read_bytes()[:-700])
    for _ in range(2):
        assert dalda("import", folder, dataset, "-o", tmp_path / "out").exit_code == 0
        assert contents(tmp_path / "out") == whole


def test_invalid_missing_and_unlisted_images_are_reported(
    folder: Path, dataset: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 20)).save(folder / "aug-0-0.png")
    (folder / "aug-1-1.png").write_bytes((folder / "aug-1-0.png").read_bytes())
    (folder / "aug-2-0.png").unlink()
    noise(99).save(folder / "aug-9-9.png")
    result = dalda("import", folder, dataset, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    summary = result.stdout
    assert "5 of 7 images" in summary
    assert "of one colour: 1, the same as another image: 1" in summary
    assert "1 rows of the table have no image" in summary
    assert "1 images are not in the table" in summary


def test_a_broken_image_stops_or_is_skipped(folder: Path, dataset: Path, tmp_path: Path) -> None:
    (folder / "aug-0-1.png").write_bytes((folder / "aug-0-1.png").read_bytes()[:90])
    stopped = dalda("import", folder, dataset, "-o", tmp_path / "out")
    assert stopped.exit_code == 2
    assert "aug-0-1.png" in stopped.stderr
    gone_on = dalda("import", folder, dataset, "-o", tmp_path / "out", "--on-bad-image", "skip", "--json")
    assert gone_on.exit_code == 0
    report = json.loads(gone_on.stdout)
    assert (report["kept"], len(report["skipped"])) == (7, 1)


@pytest.mark.parametrize(
    ("source", "problem"), [("elsewhere/bird.png", "is not in"), ("image_0001.png", "could be 2 images")]
)
def test_a_source_that_is_not_there_is_named(
    folder: Path, dataset: Path, tmp_path: Path, source: str, problem: str
) -> None:
    write(folder, [[source, "aug-0-0.png", "a cat", 0.2, 0.9, 0.1]])
    result = dalda("import", folder, dataset, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not (tmp_path / "out").exists()


def test_other_images_are_not_mixed_into_the_set(folder: Path, dataset: Path, tmp_path: Path) -> None:
    assert dalda("import", folder, dataset, "-o", tmp_path / "out").exit_code == 0
    with (folder / TABLE).open(newline="") as file:
        rows = list(csv.reader(file))
    write(folder, [[*row[:3], 0.5, *row[4:]] for row in rows[1:]])
    result = dalda("import", folder, dataset, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "images with hash" in result.stderr
