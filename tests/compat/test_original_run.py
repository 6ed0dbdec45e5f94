"""The original code's configuration files, run to the end on a tiny Pets tree; killed, they end the
same."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.compat.tiny_pets import CONFIGS, make_tiny_pets, write_captions, write_reference_config

from dalda.compat.results import csv_rows
from dalda.compat.study import OriginalProtocol, read_images
from dalda.config.experiment import Study
from dalda.datasets.class_names import published_classes
from dalda.errors import UserError
from dalda.types import SyntheticImage, TrialResult
from dalda.workflows.trials import base_book, tasks_of

SCRIPT = """
import sys
from pathlib import Path
from dalda.workflows.experiment import run_experiment
for config in sys.argv[2:]:
    run_experiment(Path(config), root=Path("pets"), original=sys.argv[1] == "original")
"""
LIMIT = 1200
COLUMNS = ["", "seed", "examples_per_class", "epoch", "value", "metric", "split"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    make_tiny_pets(folder / "pets")
    write_captions(folder / "prompts/pets_llm.json")
    for name in CONFIGS:
        write_reference_config(folder, name)
    return folder


def copy_of(world: Path, folder: Path) -> Path:
    """The same files in a place of its own; the images are links."""
    folder.mkdir()
    for path in world.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def start(folder: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, "original", *(f"{name}.py" for name in CONFIGS)]
    environment = {**os.environ, "DALDA_CACHE": str(cache)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def tables(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("logs/*/*.csv"))
    }


@pytest.mark.slow
def test_the_four_run_to_the_end_and_killed_ones_end_the_same(world: Path, tmp_path: Path) -> None:
    whole, broken = copy_of(world, tmp_path / "whole"), copy_of(world, tmp_path / "broken")
    run = start(whole, tmp_path / "cache")
    _, stderr = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, stderr
    assert stderr.count("validation images, from") == len(CONFIGS)
    for wanted in ("synthetic/*/*/train/*/*.png", "logs/*/results/*.json"):
        run, deadline = start(broken, tmp_path / "cache-2"), time.monotonic() + LIMIT
        while len(list(broken.glob(wanted))) < 2 and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert run.returncode == -signal.SIGKILL
    assert len(tables(broken)) < len(tables(whole))
    run = start(broken, tmp_path / "cache-2")
    _, stderr = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, stderr
    assert len(tables(whole)) == 2 * len(CONFIGS)
    assert tables(broken) == tables(whole)
    for table in whole.glob("logs/*/results_0_1.csv"):
        check_schema(table)


def check_schema(table: Path) -> None:
    with table.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == COLUMNS
    assert [line[0] for line in lines[1:]] == [str(number) for number in range(len(lines) - 1)]
    titled = [name.title() for name in published_classes("pets")]
    metrics = {
        f"{kind}{name}" for kind in ("Loss", "Accuracy") for name in ["", *(f" {one}" for one in titled)]
    }
    for epoch in ("0", "1"):
        for split in ("Training", "Validation"):
            assert {line[5] for line in lines[1:] if line[3] == epoch and line[6] == split} == metrics
    assert len(lines) == 1 + 2 * 2 * 2 * (1 + 37)


def result_of(shots: int) -> TrialResult:
    return TrialResult("pets", "a", 0, shots, ("b c", "d"), 0.5, (0.25, float("nan")), 1.5, 2, 0, (True,))


def test_without_a_curve_the_last_epoch_is_the_only_one() -> None:
    assert list(csv_rows(result_of(2), None, 50)) == [
        [0, 2, 49, 1.5, "Loss", "Validation"],
        [0, 2, 49, 0.125, "Accuracy", "Validation"],
        [0, 2, 49, 0.25, "Accuracy B C", "Validation"],
        [0, 2, 49, 0.0, "Accuracy D", "Validation"],
    ]


def test_a_curve_gives_every_epoch_of_both_parts() -> None:
    parts = [f"{part}_{kind}" for part in ("training", "validation") for kind in ("loss", "accuracy")]
    curve = {name: [[0.0, 1.0], [2.0, 4.0]] for name in parts}
    rows = list(csv_rows(result_of(2), curve, 2))
    assert len(rows) == 2 * 2 * 2 * 3
    assert [0, 2, 1, 3.0, "Accuracy", "Training"] in rows
    assert [0, 2, 1, 4.0, "Loss D", "Validation"] in rows


def study_with(world: Path, folder: Path, resume: tuple[int, int, int, int] | None) -> Study:
    return Study(
        dataset="pets",
        root=world / "pets",
        shots=(1,),
        seeds=(0,),
        arms=({"name": "a", "captions": "base", "ip_adapter_scale": "uniform", "per_image": 2},),  # type: ignore[arg-type]
        out=folder / "run",
        synthetic_dir=str(folder / "made-{seed}-{shots}"),
        resume=resume,
    )


def test_what_the_reference_generated_is_used(world: Path, tmp_path: Path) -> None:
    """resume = [0, 1, 1, 0]: three images are there, and the plan goes on behind them."""
    (task,) = tasks_of(study_with(world, tmp_path, None))
    folder = tmp_path / "made-0-1"
    folder.mkdir()
    lines = ["source_image_path,aug_prompt_path,used_prompt,scale,clip_score,threshold_clipscore"]
    for index, repeat in ((0, 0), (0, 1), (1, 0), (1, 1)):
        Image.fromarray(np.full((8, 8, 3), 40 * index, np.uint8)).save(folder / f"aug-{index}-{repeat}.png")
        source = task.split.images[index].path.name
        lines.append(f"/data/pets/{source},out/aug-{index}-{repeat}.png,a photo,0.5,0.9,0.2")
    (folder / "source_image_prompt.csv").write_text("\n".join(lines) + "\n")
    found = read_images(folder, task.split, 2)
    assert sorted(found) == [0, 1, 2, 3]
    assert [one.source for _, one in sorted(found.items())] == [
        task.split.images[index].path for index in (0, 0, 1, 1)
    ]
    assert {one.source_clip_probability for one in found.values()} == {0.9}

    def existing(study: Study) -> Mapping[int, SyntheticImage]:
        return OriginalProtocol(study).existing_images(task)

    for resume in (None, (0, 1, 1, 0), (0, 1, 1, 1)):
        images = existing(study_with(world, tmp_path, resume))
        assert [image.request_id[4:] for image in images.values()] == ["0-0", "0-1", "1-0", "1-1"]
    with pytest.raises(UserError, match=r"resume says that 8 images are in .*, but 4 of them are missing"):
        existing(study_with(world, tmp_path, (0, 1, 3, 1)))
    with pytest.raises(UserError, match="not in the study"):
        existing(study_with(world, tmp_path, (5, 1, 0, 0)))


def test_base_captions_of_the_reference_have_underscores(world: Path, tmp_path: Path) -> None:
    study = study_with(world, tmp_path, None)
    (task,) = tasks_of(study)
    original = study.model_copy(update={"original": True})
    assert base_book(original, task.split)["basset hound"] == ["a photo of a basset_hound"]
    assert base_book(study, task.split)["basset hound"] == ["a photo of a basset hound"]
