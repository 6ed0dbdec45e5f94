"""The tutorials from their first line to their last, on a few small images and the embedded model."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.test_docs import ROOT, blocks, commands

from dalda.cli import app

DOCS = ROOT / "docs"
SMALLER = {"sd15": "doodle", "clip": "doodle", "10": "1", "3": "1"}
"""Words of commands that need a GPU or hours, and what stands for each here."""
FASTER = {"augment": ["--steps", "1"], "train": ["--no-baselines"]}
ALONE = {"doctor", "review"}
"""Commands that need nothing of the page, or a person."""


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        noise = np.random.default_rng(len(list(folder.parent.rglob("*.jpg")))).integers(0, 255, (32, 32, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / name)


def run(words: list[str]) -> str:
    if "--llm" in words:
        place = words.index("--llm")
        words = words[:place] + words[place + 2 :]
    words = [SMALLER.get(word, word) for word in words] + FASTER.get(words[0], [])
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (words, result.output)
    return result.output


def run_page(page: Path) -> dict[str, str]:
    return {" ".join(words): run(words) for words in commands(page) if words[0] not in ALONE}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def photographs() -> None:
    for part in ("train", "val"):
        for name in ("heron", "egret", "stork"):
            put(Path("photos", part, name), f"{part}1.jpg", f"{part}2.jpg")


def rows_of(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(table).read_text(encoding="utf-8").splitlines()))


@pytest.mark.slow
def test_from_a_folder_of_photographs_to_a_trained_model() -> None:
    photographs()
    outputs = run_page(DOCS / "own-photographs.md")
    assert len(outputs) == 8
    dry = next(output for words, output in outputs.items() if "--dry-run" in words)
    assert "6 images from 6 real images of 3 classes" in dry
    assert "nothing was generated" in dry
    assert Path("report.html").is_file()
    rows = rows_of("training/metadata.csv")
    assert [row["origin"] for row in rows].count("real") == 6
    assert len(rows) == 12


@pytest.mark.slow
def test_from_a_table_of_labels_to_a_submission() -> None:
    page = DOCS / "table-of-labels.md"
    names = [f"{number:04}" for number in range(8)]
    put(Path("train"), *(f"{name}.jpg" for name in names))
    put(Path("test"), "9001.jpg", "9002.jpg")
    table = "".join(f"{name},{('heron', 'egret')[number % 2]}\n" for number, name in enumerate(names))
    Path("train.csv").write_text("id,label\n" + table)
    sort, submit = blocks(page, "python")
    subprocess.run([sys.executable, "-c", sort], check=True)
    outputs = run_page(page)
    assert "2 classes, 8 images: 4 for train, 4 for val" in next(iter(outputs.values()))
    subprocess.run([sys.executable, "-c", submit], check=True)
    rows = rows_of("submission.csv")
    assert [row["id"] for row in rows] == ["9001", "9002"]
    assert {row["label"] for row in rows} <= {"heron", "egret"}


@pytest.mark.slow
def test_a_first_study() -> None:
    page = DOCS / "experiments.md"
    photographs()
    (study, *_) = blocks(page, "yaml")
    smaller = [
        ("model: sd15, per_image: 10", "model: doodle, per_image: 1, steps: 1"),
        ("backbone: clip", "backbone: doodle"),
        ("[1, 2, 4]", "1"),
        ("seeds: 3", "seeds: 1"),
    ]
    for usual, little in smaller:
        assert usual in study
        study = study.replace(usual, little)
    Path("study.yaml").write_text(study + "baselines: false\n")
    first = blocks(page, "sh")[0]
    lines = re.findall(r"^dalda (.*?)(?: +#.*)?$", first, re.MULTILINE)
    assert len(lines) == 4
    outputs = [run(line.split()) for line in lines]
    assert "6 of 6 images to generate, in 2 sets" in outputs[1]
    assert "3 of 3 trials trained, 6 images generated" in outputs[2]
    assert Path("figure.png").is_file()
