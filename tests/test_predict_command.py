"""`dalda predict` and `dalda export --to onnx`: a classifier comes out of `dalda train`."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn

import dalda
from dalda.cli import app
from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.seeding import generator_of
from dalda.workflows.classifier import images_in_places

CLASSES = ("car", "fish", "tree")
SHORT: tuple[object, ...] = (
    "--backbone",
    "doodle",
    "--feature-views",
    2,
    "--epochs",
    2,
    "--iterations",
    10,
    "--seeds",
    2,
)
SHORT += ("--no-baselines",)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words: object) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, two images each to learn from and seven to be tested on, and a trained run."""
    folder = tmp_path_factory.mktemp("predict")
    for name in CLASSES:
        for number in range(9):
            rng = generator_of(0, "predict", name, number)
            path = folder / "photos" / ("train" if number < 2 else "val") / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_doodle(random_doodle(rng, name), rng)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DALDA_CACHE", str(folder / "cache"))
        assert run("train", folder / "photos", *SHORT, "-o", folder / "run").exit_code == 0
    return folder


def accuracies(run_folder: Path, arm: str = "real") -> dict[str, str]:
    """Seed to accuracy, as results.csv has it."""
    with (run_folder / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["arm"], row["metric"]) == (arm, "accuracy")]
    return {row["seed"]: row["value"] for row in rows}


def test_the_same_training_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    assert run("train", world / "photos", *SHORT, "-o", tmp_path / "again").exit_code == 0
    files = sorted(path.name for path in (world / "run/classifiers").iterdir())
    assert files == ["real-seed0.safetensors", "real-seed1.safetensors"]
    for name in files:
        again = (tmp_path / "again/classifiers" / name).read_bytes()
        assert again == (world / "run/classifiers" / name).read_bytes()


def test_the_accuracy_is_that_of_the_table_to_the_last_digit(world: Path, tmp_path: Path) -> None:
    table = accuracies(world / "run")
    for seed in ("0", "1"):
        place = world / f"run/classifiers/real-seed{seed}.safetensors"
        out = tmp_path / f"{seed}.csv"
        report = answer("predict", place, world / "photos/val", "-o", out)
        assert str(report["accuracy"]) == table[seed]
        with out.open() as file:
            rows = list(csv.DictReader(file))
        hits = [Path(row["image"]).parent.name == row["class"] for row in rows]
        assert (len(rows), str(np.mean(hits))) == (21, table[seed])
        assert all(1 / 3 <= float(row["confidence"]) <= 1 for row in rows)


@pytest.mark.parametrize("head", ["auto", "tip-adapter", "lp++"])
def test_every_head_predicts_as_it_was_measured(world: Path, tmp_path: Path, head: str) -> None:
    words: tuple[object, ...] = ("--backbone", "doodle", "--feature-views", 2, "--seeds", 1)
    words += ("--head", head)
    if head != "auto":
        words += ("--no-baselines",)
    assert run("train", world / "photos", *words, "-o", tmp_path / "run").exit_code == 0
    files = sorted((tmp_path / "run/classifiers").iterdir())
    assert len(files) == (4 if head == "auto" else 1)
    for file in files:
        arm = file.name.removesuffix("-seed0.safetensors")
        report = answer("predict", file, world / "photos/val")
        assert str(report["accuracy"]) == accuracies(tmp_path / "run", arm)["0"]
    assert answer("predict", tmp_path / "run", world / "photos/val")["arm"] == "real"


def test_an_image_counts_once_however_its_place_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / name).write_bytes(b"")
    places = [Path("new/b.png"), Path("new"), tmp_path / "new", Path("new/../new/a.png")]
    assert images_in_places(places) == [Path("new/b.png"), Path("new/a.png")]


def test_what_a_person_reads(world: Path, tmp_path: Path) -> None:
    image = world / "photos/val/fish/3.png"
    result = run("predict", world / "run", image, "-o", tmp_path / "prediction.json")
    assert result.exit_code == 0, result.output
    assert "by the classifier of 'real', seed 0, on doodle" in result.stdout
    (prediction,) = json.loads((tmp_path / "prediction.json").read_text())
    assert prediction["label"] in CLASSES
    assert prediction["image"] == str(image)
    assert list(prediction["probabilities"].values()) == sorted(
        prediction["probabilities"].values(), reverse=True
    )
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert prediction["confidence"] == prediction["probabilities"][prediction["label"]]


def test_it_loads_as_one_module_of_torch(world: Path) -> None:
    classifier = dalda.load_classifier(world / "run")
    assert isinstance(classifier, nn.Module)
    assert classifier.classes == CLASSES
    images = [Image.open(path).convert("RGB") for path in sorted((world / "photos/val/car").iterdir())]
    logits = classifier(classifier.preprocess(images))
    assert logits.shape == (7, 3)
    torch.testing.assert_close(logits.double().softmax(1), classifier.probabilities(images))


def test_the_onnx_file_agrees_with_torch(
    world: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    out = tmp_path / "classifier.onnx"
    report = answer("export", world / "run", "--to", "onnx", "-o", out)
    assert not recwarn.list
    assert report["largest_difference"] <= 1e-4
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    classifier = dalda.load_classifier(world / "run")
    images = [Image.open(path).convert("RGB") for path in sorted((world / "photos/val/tree").iterdir())]
    (found,) = session.run(None, {"pixels": classifier.preprocess(images).numpy()})
    np.testing.assert_allclose(found, classifier.probabilities(images).numpy(), atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["preprocessing"])["image_mean"]
    assert "is not overwritten" in refused("export", world / "run", "--to", "onnx", "-o", out)


def test_an_unusable_image_is_one_sentence_or_a_counted_skip(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    (folder / "notes.txt").write_text("no image")
    (folder / "good.png").write_bytes((world / "photos/val/car/3.png").read_bytes())
    sentence = refused("predict", world / "run", folder)
    assert "broken.png" in sentence
    assert "--on-bad-image skip" in sentence
    report = answer("predict", world / "run", folder, "--on-bad-image", "skip")
    assert [Path(one["image"]).name for one in report["predictions"]] == ["good.png"]
    assert len(report["skipped"]) == 1
    assert report["accuracy"] is None


def test_mistakes_are_one_sentence(world: Path, tmp_path: Path) -> None:
    image = world / "photos/val/car/3.png"
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    for words, sentence in [
        ((tmp_path / "empty", image), "keeps no classifier"),
        ((tmp_path / "x.safetensors", image), "is no classifier of dalda train"),
        ((tmp_path / "none", image), "is no classifier of dalda train"),
        ((world / "run", tmp_path / "none.png"), "there is no image or folder"),
        ((world / "run", tmp_path / "empty"), "holds no images"),
        ((world / "run",), "IMAGE... is missing"),
        ((world / "run", image, "-o", tmp_path / "x.txt"), "neither a .csv nor a .json"),
        ((world / "run", image, "--backbone", "doodle-vision"), "with fingerprint"),
    ]:
        assert sentence in refused("predict", *words), sentence


def test_a_fine_tuned_backbone_comes_with_the_head(world: Path, tmp_path: Path) -> None:
    short = (
        "--backbone",
        "doodle",
        "--epochs",
        1,
        "--iterations",
        2,
        "--batch-size",
        4,
        "--seeds",
        1,
        "--no-baselines",
    )
    for finetune in ("full", "lora"):
        folder = tmp_path / finetune
        assert run("train", world / "photos", *short, "--finetune", finetune, "-o", folder).exit_code == 0
        report = answer("predict", folder, world / "photos/val")
        assert str(report["accuracy"]) == accuracies(folder)["0"]
        (result,) = [json.loads(path.read_text()) for path in (folder / "results").glob("*.json")]
        true = np.repeat(np.arange(3), 7)
        likelihoods = [
            one["probabilities"][CLASSES[label]]
            for one, label in zip(report["predictions"], true, strict=True)
        ]
        assert -np.mean(np.log(likelihoods)) == pytest.approx(result["loss"], rel=1e-4)
