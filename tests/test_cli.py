"""The command line, end to end on the embedded world, and every mistake in one sentence."""

import csv
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from tests.generation.tiny import save_tiny

from dalda.cli import app


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["DALDA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def dalda(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words: object) -> dict[str, object]:
    result = dalda(*words, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three coloured images."""
    for shade, name in ((40, "car"), (200, "tree")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            noise = np.random.default_rng([shade, number]).integers(0, 50, (40, 30, 3), np.uint8)
            Image.fromarray(noise + np.uint8(shade)).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def generate(folder: object, out: Path, *more: object) -> Result:
    return dalda("augment", folder, "-o", out, "--per-image", 2, "--steps", 2, "--hold-out", 0, *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_augment_makes_a_documented_folder(folder: Path, tmp_path: Path) -> None:
    result = generate(folder, tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["planned"], report["generated"], report["dropped"]) == (12, 12, 0)
    assert "only knows doodles" in result.stderr
    assert "--model" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").open()]
    assert {line["label"] for line in lines} == {"car", "tree"}
    assert all(
        0 <= line["ip_adapter_scale"] <= 1 and 0 <= line["source_clip_probability"] <= 1 for line in lines
    )
    assert all((tmp_path / "out/train" / line["file_name"]).is_file() for line in lines)
    settings = yaml.safe_load((tmp_path / "out/dalda.yaml").read_text())
    assert settings["preset"]["steps"] == 2
    assert settings["versions"]["torch"]


def test_the_plan_and_the_images_are_the_same_in_another_folder(folder: Path, tmp_path: Path) -> None:
    assert generate(folder, tmp_path / "one").exit_code == 0
    assert generate(folder, tmp_path / "two").exit_code == 0
    assert len(contents(tmp_path / "one")) == 12 + 4  # metadata, settings, probabilities, preview
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_plan_is_the_same_at_another_batch_size(folder: Path, tmp_path: Path) -> None:
    generate(folder, tmp_path / "one")
    generate(folder, tmp_path / "two", "--batch-size", 3)

    def plan_in(name: str) -> list[dict[str, object]]:
        lines = (tmp_path / name / "train/metadata.jsonl").read_text(encoding="utf-8").splitlines()
        # A batch of another size rounds differently, so the images' own hashes may differ.
        return [{**json.loads(line), "sha256": None, "bytes": 0, "batch_size": 0} for line in lines]

    assert len(plan_in("one")) == 12
    assert plan_in("one") == plan_in("two")


def test_a_second_run_makes_only_what_is_missing(folder: Path, tmp_path: Path) -> None:
    generate(folder, tmp_path / "out")
    whole = contents(tmp_path / "out")
    metadata = tmp_path / "out/train/metadata.jsonl"
    metadata.write_bytes(metadata.read_bytes()[:-40])
    again = generate(folder, tmp_path / "out", "--json")
    assert json.loads(again.stdout)["generated"] == 1
    assert contents(tmp_path / "out") == whole


def test_scores_that_move_by_a_digit_begin_no_second_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another device: those that the folder was begun with hold, and nothing is scored twice."""
    generate(folder, tmp_path / "out")
    whole = contents(tmp_path / "out")
    kept = json.loads((tmp_path / "out/source_probabilities.json").read_text())
    assert {name: len(scores) for name, scores in kept["probabilities"].items()} == {"car": 3, "tree": 3}
    next((tmp_path / "out").glob("train/*/*.png")).unlink()

    def moved(*arguments: object) -> list[float]:
        raise AssertionError("they were scored already")

    with monkeypatch.context() as patch:
        patch.setattr("dalda.workflows.augment_plan.score_examples", moved)
        again = generate(folder, tmp_path / "out", "--json")
    assert json.loads(again.stdout)["generated"] == 1
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_damaged_or_lost_scores_begin_no_second_set(folder: Path, tmp_path: Path, text: str | None) -> None:
    generate(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    scores = tmp_path / "out/source_probabilities.json"
    if text is None:
        digits = scores.read_text().replace("0.", "0.1")
        scores.write_text(digits)
    else:
        scores.write_text(text)
    result = generate(folder, tmp_path / "out")
    assert result.exit_code == 2
    assert "source_probabilities" in result.stderr or "same sources" in result.stderr
    assert {**contents(tmp_path / "out"), "source_probabilities.json": b""} == {
        **before,
        "source_probabilities.json": b"",
    }


def test_a_run_that_failed_before_its_first_image_may_be_fixed(folder: Path, tmp_path: Path) -> None:
    words = (folder, tmp_path / "out", "--ip-adapter-scale", "uniform")
    assert generate(*words, "--vae", folder).exit_code == 2
    assert (tmp_path / "out/dalda.yaml").exists()
    fixed = generate(*words)
    assert fixed.exit_code == 0, fixed.stderr


def test_datasets_reads_the_folder_as_it_is(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    generate(folder, tmp_path / "out")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "hf")
    )["train"]
    assert len(loaded) == 12
    assert set(loaded["label"]) == {"car", "tree"}
    assert loaded[0]["image"].size == (24, 32)


def test_a_dry_run_shows_the_plan_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    report = answer("augment", folder, "-o", tmp_path / "out", "--dry-run", "--steps", 2, "--hold-out", 0)
    assert report["planned"] == 60
    assert isinstance(report["seconds"], float)
    assert not (tmp_path / "out").exists()


def test_shots_take_some_of_each_class(folder: Path, tmp_path: Path) -> None:
    report = answer("augment", folder, "-o", tmp_path / "out", "--shots", 1, "--per-image", 1, "--steps", 2)
    assert report["planned"] == 2


def test_chinese_and_slash_like_names_stay_labels(tmp_path: Path) -> None:
    for name in ("花", "a∕b", "..hidden duplicate"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.effect_noise((32, 32), 80).save(tmp_path / "set" / name / "1.png")
    assert generate(tmp_path / "set", tmp_path / "out").exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").open(encoding="utf-8")]
    assert {"花", "a∕b"} <= {line["label"] for line in lines}
    assert any("花" in line["prompt"] for line in lines)


def test_the_users_captions_are_used(folder: Path, tmp_path: Path) -> None:
    book = tmp_path / "captions.json"
    book.write_text(json.dumps({"car": ["a car {x}"], "tree": "a tree"}))
    assert generate(folder, tmp_path / "out", "--captions", book).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").open()]
    assert {line["prompt"] for line in lines} == {"a car {x}", "a tree"}


def test_any_diffusers_folder_with_an_adapter_generates(folder: Path, tmp_path: Path) -> None:
    model, adapter = save_tiny(tmp_path / "tiny")
    words = ("--model", model, "--adapter", f"{adapter}:tiny.safetensors", "--ip-adapter-scale", "uniform")
    result = generate(folder, tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    assert "only knows doodles" not in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").open()]
    assert all(line["prompt"].startswith("best quality, high quality, ") for line in lines)
    assert {line["model"] for line in lines} == {str(model)}


def test_a_set_goes_on_when_its_model_has_moved_but_not_with_another_one(
    folder: Path, tmp_path: Path
) -> None:
    model, adapter = save_tiny(tmp_path / "tiny")
    out = tmp_path / "out"

    def generated(*more: object) -> Result:
        words = (
            "--model",
            model,
            "--adapter",
            f"{adapter}:tiny.safetensors",
            "--ip-adapter-scale",
            "uniform",
        )
        return generate(folder, out, *words, "--json", *more)

    assert generated().exit_code == 0
    (tmp_path / "tiny").rename(tmp_path / "moved")
    model, adapter = tmp_path / "moved/model", tmp_path / "moved/adapter"
    moved = generated()
    assert moved.exit_code == 0, moved.stderr
    assert json.loads(moved.stdout)["already_there"] == 12
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    other = generated()
    assert other.exit_code == 2
    assert "was made with --model content " in other.stderr


def test_a_run_that_was_stopped_at_its_very_end_is_put_in_order(folder: Path, tmp_path: Path) -> None:
    generate(folder, tmp_path / "out")
    whole = contents(tmp_path / "out")
    metadata = tmp_path / "out/train/metadata.jsonl"
    metadata.write_text("".join(reversed(metadata.read_text().splitlines(keepends=True))))
    metadata.with_name(".metadata.jsonl.partial").write_text("half")
    assert generate(folder, tmp_path / "out").exit_code == 0
    assert contents(tmp_path / "out") == whole


def test_the_embedded_world_needs_no_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("no network was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert generate(folder, tmp_path / "out").exit_code == 0


def test_long_prompts_are_not_cut_in_silence(folder: Path, tmp_path: Path) -> None:
    book = tmp_path / "captions.json"
    book.write_text(json.dumps({"car": ["a car " + "on grass " * 50], "tree": ["a tree"]}))
    result = generate(folder, tmp_path / "out", "--captions", book)
    assert result.exit_code == 0
    assert "1 prompts are longer than 77 tokens" in result.stderr


def test_a_full_disk_is_one_sentence(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x.png")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        result = generate(folder, tmp_path / "out")
    assert result.exit_code == 2
    assert "No space left" in result.stderr
    assert generate(folder, tmp_path / "out").exit_code == 0


def test_split_of_the_doodles() -> None:
    split = answer("split", "doodles", "--shots", 2, "--seed", 1)
    assert (split["dataset"], split["seed"], split["shots"], split["part"]) == ("doodles", 1, 2, "train")
    assert len(split["images"]) == 24  # type: ignore[arg-type]


def test_split_shows_the_validation_images_too() -> None:
    split = answer("split", "doodles", "--shots", 1, "--split", "val")
    assert (split["part"], len(split["images"])) == ("val", 12)  # type: ignore[arg-type]


def test_split_holds_out_what_train_holds_out(folder: Path) -> None:
    (share, none) = (answer("split", folder, "--hold-out", value) for value in (0.5, 0))
    assert len(share["images"]) < len(none["images"])  # type: ignore[arg-type]


def test_score_writes_a_table(folder: Path, tmp_path: Path) -> None:
    report = answer("score", folder, "-o", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["source_clip_probability"]) for row in rows] == [
        row["source_clip_probability"]
        for row in report["images"]  # type: ignore[attr-defined]
    ]
    again = dalda("score", folder, "-o", tmp_path / "scores.csv")
    assert again.exit_code == 2
    assert "already there" in again.stderr


def test_prompts_writes_captions_that_augment_reads(folder: Path, tmp_path: Path) -> None:
    assert dalda("captions", folder, "-o", tmp_path / "captions.json", "--per-class", 3).exit_code == 0
    book = json.loads((tmp_path / "captions.json").read_text())
    assert {name: len(lines) for name, lines in book.items()} == {"car": 3, "tree": 3}
    assert generate(folder, tmp_path / "out", "--captions", tmp_path / "captions.json").exit_code == 0


def test_train_compares_real_with_synthetic(folder: Path, tmp_path: Path) -> None:
    generate(folder, tmp_path / "out", "--shots", 1)
    (tmp_path / "set" / "val").mkdir()
    for name in ("car", "tree"):
        (folder / name).rename(folder.parent / f"{name}-moved")
    (folder / "train").mkdir()
    for name in ("car", "tree"):
        (folder.parent / f"{name}-moved").rename(folder / "train" / name)
        (folder / "val" / name).mkdir()
        Image.open(folder / "train" / name / "1.png").save(folder / "val" / name / "9.png")
    words = ("train", folder, "--synthetic", tmp_path / "out", "--shots", 1, "--backbone", "doodle")
    report = answer(*words, "--epochs", 1, "--iterations", 20, "--seeds", 2, "-o", tmp_path / "run")
    baselines = {"zero-shot", "real-augmented"}
    assert set(report["arms"]) == {"real", "out"} | baselines  # type: ignore[call-overload]
    assert set(report["gains"]) == {"out"} | baselines  # type: ignore[call-overload]
    with (tmp_path / "run/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value"]
    assert len(list((tmp_path / "run/results").glob("*.json"))) == 2 * 4


def _text_file(folder: Path) -> None:
    (folder / "car" / "0.jpg").write_text("not an image")


def _truncated(folder: Path) -> None:
    Image.effect_noise((200, 200), 80).save(folder / "car" / "x.jpg")
    data = (folder / "car" / "x.jpg").read_bytes()
    (folder / "car" / "x.jpg").write_bytes(data[: len(data) // 2])


def _empty_class(folder: Path) -> None:
    (folder / "empty").mkdir()


def _one_class(folder: Path) -> None:
    (folder / "tree").rename(folder.parent / "away")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [(_text_file, "0.jpg"), (_truncated, "x.jpg"), (_empty_class, "empty"), (_one_class, "one class")],
)
def test_a_bad_data_set_is_one_sentence(folder: Path, tmp_path: Path, harm: object, sentence: str) -> None:
    harm(folder)  # type: ignore[operator]
    result = generate(folder, tmp_path / "out")
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shots", "9"], "than the 9"),
        (["--shots", "some"], "--shots"),
        (["--shots", "0"], "--shots"),
        (["--ip-adapter-scale", "lots"], "IP-Adapter scale"),
        (["--ip-adapter-scale", "2"], "between 0 and 1"),
        (["--scale-sampling", "wild"], "--scale-sampling"),
        (["--per-image", "0"], "--per-image"),
        (["--model", "sd99"], "sd99"),
        (["--method", "magic"], "--method"),
        (["--captions", "no.json"], "no.json"),
        (["--batch-size", "many"], "--batch-size"),
        (["--device", "tpu"], "tpu"),
        (["--root", "x"], "--root"),
        (["--split-strategy", "mine"], "--split-strategy"),
        (["--seed", "-1"], "--seed"),
        (["--steps", "1001"], "--steps"),
        (["--guidance-scale", "inf"], "--guidance-scale"),
        (["--device", "cpu:x"], "cpu:x"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    folder: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    result = dalda("augment", folder, "-o", tmp_path / "out", "--hold-out", 0, *words)
    assert result.exit_code == 2, result.stdout
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_and_one_without_classes(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        result = generate(place, tmp_path / "out")
        assert result.exit_code == 2
        assert str(place) in result.stderr


def test_other_settings_and_unwritable_places_are_refused(folder: Path, tmp_path: Path) -> None:
    generate(folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    result = generate(folder, tmp_path / "out", "--guidance-scale", 1)
    assert result.exit_code == 2
    assert "--guidance-scale 3.0, now --guidance-scale 1.0" in result.stderr
    assert contents(tmp_path / "out") == before
    result = generate(folder, folder / "car" / "0.png")
    assert result.exit_code == 2
    result = generate(folder, Path("/proc/dalda"))
    assert result.exit_code == 2
    assert "cannot be made" in result.stderr


def test_a_training_set_that_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    result = dalda("train", folder, "--synthetic", tmp_path)
    assert result.exit_code == 2
    assert "not a folder made by dalda" in result.stderr
    assert dalda("captions", folder, "-o", tmp_path / "c.json", "--llm", "oracle").exit_code == 2
