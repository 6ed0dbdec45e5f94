"""`dalda train` and `dalda evaluate`, end to end on small folders, and every mistake in one sentence."""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

import dalda
from dalda.cli import app
from dalda.cli.output import json_of
from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.evaluation.results import read_results
from dalda.seeding import generator_of
from dalda.types import TrialResult

CLASSES = ("car", "fish", "tree")
SHORT = (
    "--no-baselines",
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
ONCE = (
    "--no-baselines",
    "--backbone",
    "doodle",
    "--seeds",
    1,
    "--epochs",
    1,
    "--iterations",
    2,
    "--batch-size",
    4,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path_factory.getbasetemp() / "training-cache"))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words: object) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout, parse_constant=pytest.fail)


def doodle(path: Path, name: str, *labels: int) -> Path:
    rng = generator_of(0, "training verbs", name, *labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_doodle(random_doodle(rng, name), rng)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes, two images each to learn from and three to be tested on."""
    for name in CLASSES:
        for number in range(5):
            part = "train" if number < 2 else "val"
            doodle(tmp_path / "photos" / part / name / f"{number}.png", name, number)
    return tmp_path / "photos"


@pytest.fixture
def made(photos: Path, tmp_path: Path) -> Path:
    """A synthetic set as docs/architecture.md describes it: two images of each, the last ones off-class."""
    return synthetic(tmp_path / "made", photos)


def synthetic(out: Path, photos: Path) -> Path:
    lines = []
    for place, source in enumerate(sorted((photos / "train").rglob("*.png"))):
        label = source.parent.name
        for repeat in range(2):
            shown = "car" if (label, repeat) == ("tree", 1) else label
            request_id = f"{place:010}{repeat:010}"
            path = doodle(out / "train" / label / f"{request_id}.png", shown, place, repeat, 9)
            record = {
                "file_name": f"{label}/{path.name}",
                "label": label,
                "source": source.as_posix(),
                "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
                "index": repeat,
                "method": "dalda",
                "prompt": f"a {label}",
                "negative_prompt": "",
                "ip_adapter_scale": 0.5,
                "ip_adapter_scale_mean": 0.5,
                "source_clip_probability": 0.5,
                "guidance_scale": 3.0,
                "strength": None,
                "steps": 2,
                "seed": place,
                "model": "doodle",
                "request_id": request_id,
            }
            lines.append(json.dumps(record) + "\n")
    (out / "train" / "metadata.jsonl").write_text("".join(lines))
    (out / "dalda.yaml").write_text("method: dalda\n")
    return out


def records(made: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (made / "train/metadata.jsonl").open()]


def test_all_numbers_are_printed_and_saved(photos: Path, made: Path, tmp_path: Path) -> None:
    result = run("train", photos, "--synthetic", made, *SHORT, "-o", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    assert [line for line in result.stderr.splitlines() if line.startswith("made, seed 1, ")]
    arm = report["arms"]["made"]
    assert np.mean(list(arm["accuracy_by_seed"].values())) == pytest.approx(arm["accuracy"]["mean"])
    assert np.mean([one["mean"] for one in arm["class_accuracy"].values()]) == pytest.approx(
        arm["macro_accuracy"]["mean"]
    )
    assert np.sum(arm["confusion"], axis=1).tolist() == [6, 6, 6]
    assert np.trace(arm["confusion"]) / 18 == pytest.approx(arm["accuracy"]["mean"])
    assert arm["best_epoch_accuracy"] >= arm["accuracy"]["mean"]
    assert 0 <= arm["calibration_error"] <= 1
    assert (arm["real_images"], arm["synthetic_images"], report["excluded"]["made"]) == (6, 12, {})
    gain = report["gains"]["made"]
    overall = gain["gain"]
    difference = arm["accuracy"]["mean"] - report["arms"]["real"]["accuracy"]["mean"]
    assert overall["mean"] == pytest.approx(difference)
    assert 0 <= gain["chance_of_no_gain"] <= 1
    assert gain["by_image"]["low"] <= overall["mean"] <= gain["by_image"]["high"]
    verdict = report["answer"]["verdicts"]["made"]
    assert verdict["comparison"]["gain"] == overall  # one baseline, one arm
    assert (verdict["decision"]["claim"] == "no evidence") == (overall["low"] <= 0 <= overall["high"])
    assert report["verdicts"] == {"made": verdict["sentence"]}
    with (tmp_path / "run/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value"]
    assert {row["metric"] for row in rows if row["epoch"] == "best"} == {"best_epoch_accuracy"}
    saved = {row["metric"] for row in rows if row["epoch"] == "last"}
    assert saved >= {"accuracy", "macro_accuracy", "loss", "calibration_error", "accuracy tree"}
    results = [json.loads(path.read_text()) for path in (tmp_path / "run/results").glob("*.json")]
    assert len(results) == 4
    assert all(len(one["confusion"]) == 3 and len(one["epoch_accuracy"]) == 2 for one in results)


def test_the_baselines_are_there_by_default(photos: Path, made: Path, tmp_path: Path) -> None:
    words = (
        "train",
        photos,
        "--synthetic",
        made,
        "--backbone",
        "doodle",
        "--seeds",
        2,
        "-o",
        tmp_path / "run",
    )
    report = answer(*words)
    assert list(report["arms"]) == ["zero-shot", "real", "real-linear", "real-augmented", "made"]
    assert len(set(report["arms"]["zero-shot"]["accuracy_by_seed"].values())) == 1
    others = [report["arms"][arm]["accuracy"]["mean"] for arm in list(report["arms"])[:-1]]
    (verdict,) = report["answer"]["verdicts"].values()
    strongest = report["arms"][verdict["decision"]["strongest"]]["accuracy"]["mean"]
    assert strongest == max(others)
    settings = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert settings["settings"]["head"] == "constrained"
    # A folder of an older version, which knew the linear head alone, is not mixed with another head.
    refused = run(*words, "--head", "lp++")
    assert refused.exit_code == 2
    assert "--head constrained, now --head lp++" in refused.stderr
    assert run("predict", tmp_path / "run", photos / "val").exit_code == 0


def test_replayed_real_images_are_no_synthetic_ones(photos: Path, made: Path) -> None:
    report = answer("train", photos, "--synthetic", made, *SHORT, "--real-replay")
    assert (report["arms"]["made"]["real_images"], report["arms"]["made"]["synthetic_images"]) == (6, 0)
    assert report["answer"]["verdicts"] == {}  # a baseline like any other


def test_synthetic_copies_of_validation_images_are_reported(photos: Path, made: Path) -> None:
    words = ("train", photos, "--synthetic", made, *ONCE)
    assert "validation image, as" not in run(*words).stderr
    copied = sorted((made / "train/car").glob("*.png"))[0]
    copied.write_bytes((photos / "val/car/3.png").read_bytes())
    assert "note: made: 1 of 12 synthetic images are nearly the same as a validation image, as" in " ".join(
        run(*words).stderr.split()
    )


def test_a_head_without_epochs_refuses_them(photos: Path) -> None:
    result = run("train", photos, "--backbone", "doodle", "--head", "lp++", "--epochs", 3)
    assert result.exit_code == 2
    assert "it has no epochs" in result.stderr
    assert run("train", photos, "--backbone", "doodle-vision", "--head", "lp++").exit_code == 2


def test_what_a_person_reads(photos: Path, made: Path) -> None:
    result = run("train", photos, "--synthetic", made, *SHORT)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    while lines[0].startswith("Warning: "):
        lines.pop(0)
    assert "against the strongest baseline, 'real'" in lines[0]
    assert lines[1].split()[:2] == ["arm", "accuracy,"]
    assert [line.split()[0] for line in lines[2:4]] == ["real", "made"]
    assert lines[4].startswith("the 2 seeds vary the training only")
    assert len(lines) == 5
    single = run("train", photos, "--synthetic", made, *ONCE)
    assert "vary" not in single.stdout


def test_features_are_kept_for_the_next_run(
    photos: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    words = ("train", photos, "--synthetic", made, *SHORT)
    first = run(*words, "--json")
    again = run(*words, "--json")
    assert "features: 18 of 18" in first.stderr
    assert "features" not in again.stderr
    assert first.stdout == again.stdout
    (table,) = (tmp_path / "cache").rglob("flip*.sqlite")
    table.write_bytes(b"x" * table.stat().st_size)
    damaged = run(*words)
    assert damaged.exit_code == 2
    assert "is damaged" in damaged.stderr
    assert "delete that file" in damaged.stderr
    monkeypatch.setenv("DALDA_CACHE", str(photos / "val" / "car" / "2.png"))
    unusable = run(*words)
    assert unusable.exit_code == 2
    assert "set DALDA_CACHE" in unusable.stderr


def test_what_is_filtered_is_counted_and_recorded(photos: Path, made: Path, tmp_path: Path) -> None:
    words = ("train", photos, "--synthetic", made, *SHORT, "-o", tmp_path / "run")
    report = answer(*words, "--min-clip-probability", 0.5, "--filter-by-classifier", "--clip-weighting")
    arm = report["arms"]["made"]
    excluded = report["excluded"]["made"]
    assert sum(excluded.values()) + arm["synthetic_images"] == 12
    assert excluded["CLIP class probability below 0.5"] >= 1
    lines = [json.loads(line) for line in (tmp_path / "run/excluded.jsonl").open()]
    assert Counter(line["kind"] for line in lines) == excluded
    dropped = {line["request_id"] for line in lines}
    off_class = {f"{place:010}{1:010}" for place in (4, 5)}
    assert dropped & off_class
    nothing = run("train", photos, "--synthetic", made, *SHORT, "--min-clip-probability", 1)
    assert nothing.exit_code == 2
    assert "passes --min-clip-probability" in nothing.stderr


def test_each_seed_filters_by_its_own_classifier(photos: Path, made: Path, tmp_path: Path) -> None:
    """The same numbers as from a command for each seed alone."""
    words = ("train", photos, "--synthetic", made, *SHORT, "--iterations", 1, "--filter-by-classifier")
    both = answer(*words, "-o", tmp_path / "both")
    alone = [answer(*words, "--seeds", 1, "--seed", seed) for seed in (0, 1)]
    filtered = [one["excluded"]["made"]["predicted as another class"] for one in alone]
    kinds = both["excluded"]["made"]
    assert [
        kinds[f"predicted as another class by the classifier of seed {seed}"] for seed in (0, 1)
    ] == filtered
    accuracies = [one["arms"]["made"]["accuracy"]["mean"] for one in alone]
    assert both["arms"]["made"]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)
    results = {one.seed: one for one in read_results(tmp_path / "both") if one.arm == "made"}
    assert [results[seed].synthetic_images + filtered[seed] for seed in (0, 1)] == [12, 12]
    lines = [json.loads(line) for line in (tmp_path / "both/excluded.jsonl").open()]
    reasons = {line["reason"] for line in lines if line["kind"] in kinds}
    assert reasons
    assert all(re.fullmatch(r"looks like (\w+), not (?!\1)\w+", reason) for reason in reasons)


def test_a_finished_run_keeps_its_time(photos: Path, tmp_path: Path) -> None:
    answer("train", photos, *ONCE, "-o", tmp_path / "run")
    before = (tmp_path / "run/run.yaml").read_text()
    answer("train", photos, *ONCE, "-o", tmp_path / "run", "--device", "cpu")
    assert (tmp_path / "run/run.yaml").read_text() == before


def test_copies_of_other_examples_are_counted_and_recorded(
    photos: Path, made: Path, tmp_path: Path
) -> None:
    words = ("train", photos, "--synthetic", made, *ONCE, "--shots", 1, "-o", tmp_path / "run")
    report = answer(*words)
    assert report["arms"]["made"]["synthetic_images"] == 6
    assert report["excluded"]["made"] == {"its source image is not in this split": 6}
    lines = [json.loads(line) for line in (tmp_path / "run/excluded.jsonl").open()]
    gone = {line["request_id"] for line in lines}
    used = {one["source_sha256"] for one in records(made) if one["request_id"] not in gone}
    assert (len(lines), len(gone), len(used)) == (6, 6, 3)


def test_a_stopped_run_goes_on_and_ends_as_an_unbroken_one(
    photos: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", photos, "--synthetic", made, *SHORT, "--min-clip-probability", 0.2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    wanted = answer(*words, "-o", whole)
    finished: list[TrialResult] = []

    def stop(result: TrialResult) -> None:
        finished.append(result)
        if len(finished) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dalda.workflows.runner.say_result", stop)
        stopped = run(*words, "-o", broken)
        assert stopped.exit_code == 130
        assert "finished work is kept" in stopped.stderr
        finished.clear()
        assert "no result is kept" in run(*words).stderr
    assert len(list((broken / "results").iterdir())) == 3
    assert not (broken / "results.csv").exists()
    result = run(*words, "-o", broken, "--json")
    assert len(re.findall("^(real|made), seed", result.stderr, re.MULTILINE)) == 1
    assert json.loads(result.stdout) == {**wanted, "out": str(broken)}
    for path in whole.rglob("*.*"):
        if path.name != "run.yaml":
            assert path.read_bytes() == (broken / path.relative_to(whole)).read_bytes(), path
    before = {path: path.read_bytes() for path in whole.rglob("*.*")}
    again = run(*words, "-o", whole, "--json")
    assert "seed" not in again.stderr
    assert json.loads(again.stdout) == wanted
    assert before == {path: path.read_bytes() for path in whole.rglob("*.*")}


def test_a_run_says_what_it_was_made_with(photos: Path, made: Path, tmp_path: Path) -> None:
    answer("train", photos, "--synthetic", made, *ONCE, "-o", tmp_path / "run")
    saved = yaml.safe_load((tmp_path / "run/run.yaml").read_text())
    settings, recorded = saved["settings"], saved["recorded"]
    assert (saved["format"], saved["command"], settings["backbone"]) == (1, "train", "doodle")
    assert (settings["epochs"], settings["mixing"], settings["finetune"]) == (
        1,
        "per-image-replacement",
        "head",
    )
    assert [(one["arm"], one["synthetic"]) for one in saved["trials"]] == [
        ("real", None),
        ("made", str(made)),
    ]
    assert (settings["real_images"], settings["validation_images"]) == (6, 9)
    assert settings["images"] == {"made": 12}
    assert recorded["versions"]["dalda"] == dalda.__version__
    assert recorded["seconds"] > 0


def test_a_run_grows_by_seeds(photos: Path, made: Path, tmp_path: Path) -> None:
    words = ("train", photos, "--synthetic", made, *ONCE, "-o", tmp_path / "run")
    first = {path.name for path in _results(answer(*words), tmp_path)}
    result = run(*words, "--seeds", 3, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(re.findall("^(real|made), seed", result.stderr, re.MULTILINE)) == 4
    assert first < {path.name for path in _results(result, tmp_path)}
    with (tmp_path / "run/results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "accuracy"]
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (arm, seed) for arm in ("real", "made") for seed in "012"
    ]


def _results(_: object, tmp_path: Path) -> list[Path]:
    return list((tmp_path / "run/results").iterdir())


def test_a_run_of_other_settings_or_images_is_refused(photos: Path, made: Path, tmp_path: Path) -> None:
    words = ("train", photos, "--synthetic", made, *ONCE, "-o", tmp_path / "run")
    answer(*words)

    def refused(*more: object) -> str:
        result = run(*words, *more)
        assert result.exit_code == 2
        return result.stderr

    assert "was made with --epochs 1, now --epochs 3; use those again" in refused("--epochs", 3)
    assert "now --mixing two-term-loss" in refused("--mixing", "two-term-loss")
    doodle(next(made.rglob("*.png")), "fish", 1234)
    assert "was made with images with hash.made " in refused()
    doodle(photos / "val" / "car" / "2.png", "car", 1234)
    assert "was made with validation with hash " in refused()
    (tmp_path / "run/run.yaml").write_text("[")
    assert "run.yaml', line 2: this is not YAML" in refused()


def test_other_wordings_of_the_classes_are_other_settings(photos: Path, tmp_path: Path) -> None:
    """They decide the zero-shot start of the head, and what a CLIP filter excludes."""
    words = ("train", photos, *ONCE, "-o", tmp_path / "run")
    answer(*words)
    (photos / "class_names.csv").write_text("car,motor car\n")
    result = run(*words)
    assert result.exit_code == 2
    assert "was made with class names with hash none, now class names with hash " in result.stderr


def test_a_folder_of_another_command_is_left_as_it_is(photos: Path, tmp_path: Path) -> None:
    answer("train", photos, *ONCE, "-o", tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    arms = "arms: [{name: real, method: real}]"
    study = f"dataset: {photos}\nshots: [1]\nseeds: 1\ntrain: {{backbone: doodle}}\n{arms}\n"
    (tmp_path / "study.yaml").write_text(study)
    result = run("run", tmp_path / "study.yaml", "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "is a folder of dalda train" in result.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_no_result_is_written_through_a_link(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    words = ("train", photos, *ONCE, "-o", tmp_path / "run")
    answer(*words)
    for path in (tmp_path / "run/results").iterdir():
        path.unlink()
    (tmp_path / "run/results").rmdir()
    (tmp_path / "run/results").symlink_to(tmp_path / "elsewhere")
    result = run(*words)
    assert result.exit_code == 2
    assert "symbolic link" in result.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_was_rejected_in_review_is_left_out(photos: Path, made: Path) -> None:
    refused = f"{0:010}{0:010}"
    line = {
        "request_id": refused,
        "decision": "reject",
        "time": "2026-01-01",
        "author": "me",
    }
    (made / "review.jsonl").write_text(json.dumps(line) + "\n")
    words = ("train", photos, "--synthetic", made, *ONCE)
    report = answer(*words)
    arm = report["arms"]["made"]
    assert (arm["synthetic_images"], report["excluded"]["made"]) == (11, {"rejected in review": 1})
    assert "made excludes rejected in review: 1" in run(*words).stdout
    assert answer(*words, "--ignore-review")["arms"]["made"]["synthetic_images"] == 12
    looked = ("evaluate", made, "--against", photos, "--backbone", "doodle")
    found = answer(*looked)
    assert (found["overall"]["synthetic_images"], found["rejected_in_review"]) == (11, 1)
    assert "rejected in review" in run(*looked).stdout
    assert answer(*looked, "--ignore-review")["overall"]["synthetic_images"] == 12
    every = [json.dumps({**line, "request_id": path.stem}) + "\n" for path in made.rglob("*.png")]
    (made / "review.jsonl").write_text("".join(every))
    assert "--ignore-review" in run(*words).stderr


EXACT = ["--feature-views", "online"]


@pytest.mark.parametrize(
    ("common", "words"),
    [
        ([], EXACT),
        ([], ["--feature-views", "2"]),
        ([], ["--transforms", "jitter"]),
        (EXACT, ["--transforms", "randaugment"]),
        # These draw fresh views in any case, so that alone would change the loss.
        (EXACT, ["--batch-augment", "mixup"]),
        (EXACT, ["--batch-augment", "cutmix"]),
        (EXACT, ["--finetune", "full"]),
        (EXACT, ["--finetune", "lora"]),
        ([], ["--head-init", "random"]),
        ([], ["--mixing", "two-term-loss"]),
        (["--mixing", "two-term-loss"], ["--synthetic-probability", "0.8"]),
        ([], ["--mixing", "synthetic-only"]),
        ([], ["--mixing", "concatenation"]),
        ([], ["--mixing", "global-replacement"]),
        ([], ["--clip-weighting"]),
    ],
    ids=lambda words: " ".join(words) or "-",
)
def test_each_option_changes_what_is_learned(
    photos: Path, made: Path, common: list[str], words: list[str]
) -> None:
    report = answer("train", photos, "--synthetic", made, *ONCE, *common, *words)
    without = answer("train", photos, "--synthetic", made, *ONCE, *common)
    # Losses of the same computation are the same to the last digit.
    assert without == answer("train", photos, "--synthetic", made, *ONCE, *common)
    assert report["arms"]["made"]["loss"] != without["arms"]["made"]["loss"]
    assert report["gains"]["made"]["gain"]["low"] is None


def test_evaluate_lists_near_copies_and_off_class_images(photos: Path, made: Path) -> None:
    copied, source = made / f"train/fish/{2:010}{0:010}.png", photos / "train/fish/0.png"
    copied.write_bytes(source.read_bytes())
    words = ("evaluate", made, "--against", photos, "--backbone", "doodle")
    report = answer(*words)
    assert list(report["classes"]) == list(CLASSES)
    assert (report["overall"]["real_images"], report["overall"]["synthetic_images"]) == (6, 12)
    copies = {one["file"]: one for one in report["near_duplicates"]}
    assert copies[str(copied)]["nearest"] == str(source)
    assert report["overall"]["near_duplicates"] == pytest.approx(len(copies) / 12)
    off_class = [one["label"] for one in report["off_class"]]
    assert len(off_class) == pytest.approx(report["overall"]["off_class"] * 12)
    assert "tree" in off_class
    assert report["classes"]["car"]["density"] is None
    result = run(*words)
    assert [line.split()[0] for line in result.stdout.splitlines()[:5]] == ["class", "all", *CLASSES]
    assert max(map(len, result.stdout.splitlines()[:5])) <= 120
    assert answer(*words, "--split", "val")["overall"]["real_images"] == 9


def test_the_python_functions_are_the_commands(photos: Path, made: Path) -> None:
    config = dalda.EvaluateConfig(dataset=str(photos), synthetic=made, backbone="doodle", device="cpu")
    assert json_of(dalda.evaluate(config)) == answer(
        "evaluate", made, "--against", photos, "--backbone", "doodle", "--device", "cpu"
    )


def test_the_loop_of_the_document_runs(
    photos: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "trials.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(photos.parent)
    exec(loop, {})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 3
    assert np.isfinite(losses).all()


def test_a_mixed_data_set_takes_a_folder_or_samples(photos: Path, made: Path) -> None:
    real = dalda.sample_few_shot(dalda.load_dataset(str(photos)))
    mixed = dalda.MixedDataset(real, made, 1.0, seed=1)
    image, label = mixed[5]
    assert (image.mode, image.size, label, len(mixed)) == ("RGB", (32, 32), 2, 6)
    alike = dalda.MixedDataset(real, mixed.synthetic, 1.0, seed=1)
    assert image.tobytes() == alike[5][0].tobytes()
    for path in (photos / "train").rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(dalda.UserError, match="not an image"):
        dalda.MixedDataset(real, [], 0.0)[0]


def _another(photos: Path, made: Path) -> None:
    for number, path in enumerate(sorted((photos / "train").rglob("*.png"))):
        doodle(path, path.parent.name, number, 77)


def _no_val_class(photos: Path, made: Path) -> None:
    (photos / "val" / "tree").rename(photos.parent / "away")


def _no_train_class(photos: Path, made: Path) -> None:
    (photos / "train" / "tree").rename(photos.parent / "away")


def _one_class(photos: Path, made: Path) -> None:
    for part in ("train", "val"):
        for name in ("car", "tree"):
            (photos / part / name).rename(photos.parent / f"{part}-{name}")


def _nothing_made(photos: Path, made: Path) -> None:
    (made / "train" / "metadata.jsonl").write_text("")


def _no_set(photos: Path, made: Path) -> None:
    (made / "dalda.yaml").unlink()


def _mislabelled(photos: Path, made: Path) -> None:
    path = made / "train" / "metadata.jsonl"
    path.write_text(path.read_text().replace('"label": "fish"', '"label": "car"'))


def _lost_image(photos: Path, made: Path) -> None:
    next(made.rglob("*.png")).unlink()


def _broken_image(photos: Path, made: Path) -> None:
    next(made.rglob("*.png")).write_bytes(b"no image")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (_another, "None of the 12 synthetic images"),
        (_no_val_class, "tree"),
        (_no_train_class, "tree"),
        (_one_class, "one class"),
        (_nothing_made, "holds no images yet"),
        (_no_set, "not a folder made by dalda"),
        (_mislabelled, "belongs to another data set"),
        (_lost_image, "run dalda augment again"),
        (_broken_image, "not an image"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    harm: Callable[[Path, Path], None], sentence: str, photos: Path, made: Path
) -> None:
    harm(photos, made)
    result = run("train", photos, "--synthetic", made, *SHORT)
    assert result.exit_code == 2, result.stdout
    assert sentence in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("dalda: ")]) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shots", "3"], "fewer than the 3 wanted"),
        (["--feature-views", "0"], "--feature-views"),
        (["--feature-views", "many"], "--feature-views"),
        (["--mixing", "stir"], "--mixing"),
        (["--finetune", "half"], "--finetune"),
        (["--batch-augment", "all"], "--batch-augment"),
        (["--transforms", "wild"], "--transforms"),
        (["--head-init", "high"], "--head-init"),
        (["--min-clip-probability", "2"], "--min-clip-probability"),
        (["--synthetic-probability", "1.5"], "--synthetic-probability"),
        (["--seeds", "0"], "--seeds"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_a_wrong_option_is_one_sentence(photos: Path, made: Path, words: list[str], sentence: str) -> None:
    result = run("train", photos, "--synthetic", made, *SHORT, *words)
    assert result.exit_code == 2, result.stdout
    assert sentence in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("dalda: ")]) == 1


def test_a_folder_that_is_no_backbone_is_one_sentence(photos: Path) -> None:
    result = run("train", photos, "--backbone", photos)
    assert result.exit_code == 2
    assert f"'{photos}' cannot be loaded" in result.stderr
    assert "--backbone" in result.stderr


def test_equal_names_and_foreign_sets_are_refused(photos: Path, made: Path, tmp_path: Path) -> None:
    other = synthetic(tmp_path / "else" / "made", photos)
    result = run("train", photos, "--synthetic", made, "--synthetic", other, *SHORT)
    assert result.exit_code == 2
    assert "same name" in result.stderr
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    result = run("train", photos, *SHORT, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "nothing is overwritten" in result.stderr
    for name in CLASSES:
        (photos / "train" / name).rename(photos / "train" / f"other {name}")
        (photos / "val" / name).rename(photos / "val" / f"other {name}")
    result = run("evaluate", made, "--against", photos, "--backbone", "doodle")
    assert result.exit_code == 2
    assert "has not (car, fish, tree)" in result.stderr
