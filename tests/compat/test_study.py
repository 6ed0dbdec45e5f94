"""Runs that the original code began are continued: its tables, its images, the size of its images."""

import csv
from pathlib import Path

import pytest
from PIL import Image
from tests.compat.tiny_pets import make_tiny_pets

from dalda.compat.export_form import write_original
from dalda.compat.results import COLUMNS
from dalda.compat.study import OriginalProtocol
from dalda.config.experiment import Study, trials_of
from dalda.reporting.export_folder import ExportFolder, ExportImage
from dalda.types import TrialResult
from dalda.workflows.captions import captions_for
from dalda.workflows.trials import base_book, tasks_of


def study_in(folder: Path, **more: object) -> Study:
    settings: dict[str, object] = {
        "dataset": "pets",
        "root": folder / "pets",
        "shots": (1, 2),
        "seeds": (0, 1),
        "arms": ({"name": "a", "captions": "base", "ip_adapter_scale": "uniform", "per_image": 2},),
        "out": folder / "run",
        "original_csv": True,
    }
    return Study(**{**settings, **more})  # type: ignore[arg-type]


def table(folder: Path, seed: int, shots: int, *earlier: list[object]) -> list[list[object]]:
    """A cumulative table as the original code writes it; the rows of all trials up to this one."""
    rows = [*earlier, [seed, shots, 0, 0.25 + seed, "Accuracy", "Validation"]]
    folder.mkdir(exist_ok=True)
    with (folder / f"results_{seed}_{shots}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *([number, *row] for number, row in enumerate(rows))])
    return rows


def test_trials_of_the_original_tables_are_not_run_again_and_stay_in_the_new_ones(tmp_path: Path) -> None:
    """resume = [1, 1, 0, 0] with the tables of seed 0: seed 1 is run, and its table begins with theirs."""
    make_tiny_pets(tmp_path / "pets", 4)
    rows = table(tmp_path / "run", 0, 2, *table(tmp_path / "run", 0, 1))
    protocol = OriginalProtocol(study_in(tmp_path, resume=(1, 1, 0, 0)))
    tasks = tasks_of(protocol.study)
    done = [
        (task.spec.train.seed, task.spec.train.shots) for task in tasks if protocol.done_elsewhere(task)
    ]
    assert done == [(0, 1), (0, 2)]
    result = TrialResult("pets", "a", 1, 1, ("b", "c"), 0.5, (0.25, 0.75), 1.5, 2, 0, (True,))
    protocol.results_written(tmp_path / "run", [(result, None)], 50)
    with (tmp_path / "run/results_1_1.csv").open(newline="") as file:
        written = list(csv.reader(file))
    assert [row[1:] for row in written[1:3]] == [[str(value) for value in row] for row in rows]
    assert written[4][1:] == ["1", "1", "49", "0.5", "Accuracy", "Validation"]
    assert [row[0] for row in written[1:]] == ["0", "1", "2", "3", "4", "5"]
    (tmp_path / "run/results_0_2.csv").unlink()
    assert not any(map(protocol.done_elsewhere, tasks))


def test_tables_and_a_begun_set_of_the_original_code_stay_as_they_are(tmp_path: Path) -> None:
    """resume is all None: every trial is run, and its table goes beside the one that is there."""
    make_tiny_pets(tmp_path / "pets", 4)
    table(tmp_path / "run", 0, 1)
    before = (tmp_path / "run/results_0_1.csv").read_bytes()
    protocol = OriginalProtocol(study_in(tmp_path))
    protocol.begin(tmp_path / "run")
    assert protocol.leftovers(tmp_path / "run") == {"results_0_1.csv", "dalda"}
    result = TrialResult("pets", "a", 0, 1, ("b", "c"), 0.5, (0.25, 0.75), 1.5, 2, 0, (True,))
    protocol.results_written(tmp_path / "run", [(result, None)], 50)
    assert (tmp_path / "run/results_0_1.csv").read_bytes() == before
    assert b"0,0,1,49,1.5,Loss,Validation" in (tmp_path / "run/dalda/results_0_1.csv").read_bytes()
    begun, new = tmp_path / "begun", tmp_path / "new"
    begun.mkdir()
    (begun / "source_image_prompt.csv").write_text("the line of an image that was never generated")
    assert [protocol.set_folder(out, ()) for out in (begun, new)] == [begun / "dalda", new]


def test_images_have_the_size_of_their_source(tmp_path: Path) -> None:
    for original, size in ((True, "source"), (False, "model")):
        (trial, *_) = trials_of(study_in(tmp_path, original=original))
        assert trial.synthetic is not None
        assert trial.synthetic.size == size


@pytest.mark.parametrize(("original", "name"), [(True, "basset_hound"), (False, "basset hound")])
def test_names_in_captions_are_filled_as_the_protocol_writes_them(
    tmp_path: Path, original: bool, name: str
) -> None:
    make_tiny_pets(tmp_path / "pets", 4)
    labels = base_book(study_in(tmp_path), tasks_of(study_in(tmp_path))[0].split)
    lines = ", ".join(f'"{label}": ["a {{name}} at night, {{odd}}"]' for label in labels)
    (tmp_path / "captions.json").write_text(f"{{{lines}}}")
    arm = {"name": "a", "captions": str(tmp_path / "captions.json"), "ip_adapter_scale": "uniform"}
    (task, *_) = tasks_of(study_in(tmp_path, original=original, arms=(arm,)))
    task.write_captions()
    assert task.synthetic is not None
    assert task.synthetic.captions is not None
    captions = captions_for(task.split, "photos", 0, task.synthetic.captions)
    assert captions["basset hound"] == [f"a {name} at night, {{odd}}"]


def test_a_source_without_an_image_keeps_its_number_in_the_export(tmp_path: Path) -> None:
    """The original code takes an image's class from its number."""

    class Silent:
        def advance(self, count: int = 1) -> None: ...

    images = []
    for label, source in (("a", "1"), ("b", "3")):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{source}.png")
        record = {"source_sha256": source, "index": 0, "source": f"{source}.jpg", "prompt": "p"}
        record |= {"ip_adapter_scale": 0.4, "source_clip_probability": None}
        images.append(ExportImage(tmp_path / f"{source}.png", label, f"{source}.png", record))
    (tmp_path / "out").mkdir()
    sources = [("a", "1"), ("a", "2"), ("b", "3")]
    write_original(images, ExportFolder(tmp_path / "out", Silent(), sources))  # type: ignore[arg-type]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["aug-0-0.png", "aug-2-0.png"]
    with (tmp_path / "out/source_image_prompt.csv").open(newline="") as file:
        assert [row["threshold_clipscore"] for row in csv.DictReader(file)] == ["0.4", "0.4"]
