"""A study on two classes of coloured images: what is made, what is shared, what is made again."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dalda.cli import app
from dalda.cli.output.lines import describe
from dalda.config.experiment import trials_of
from dalda.config.study_file import parse_study
from dalda.errors import UserError
from dalda.evaluation.results import planned_trials, read_result, read_results
from dalda.models.presets import PRESETS, located
from dalda.workflows.dry_run import dry_run_experiment
from dalda.workflows.experiment import resolved, run_experiment
from dalda.workflows.trials import tasks_of

STUDY = """dataset: {folder}
shots: [1, 2]
seeds: 1
baselines: false
augment: {{per_image: 1, steps: 1, batch_size: 4}}
train: {{backbone: doodle, epochs: 1, iterations: 2, feature_views: 2}}
arms:
  - {{name: real, method: real}}
  - {{name: random, captions: base, ip_adapter_scale: uniform}}
  - {{name: adaptive, captions: captions.json}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six images of each of two classes, and captions."""
    root = tmp_path_factory.mktemp("study")
    for shade, name in ((40, "car"), (200, "tree")):
        (root / "set" / name).mkdir(parents=True)
        for number in range(6):
            noise = np.random.default_rng([shade, number]).integers(0, 50, (32, 32, 3), np.uint8)
            Image.fromarray(noise + np.uint8(shade)).save(root / "set" / name / f"{number}.png")
    (root / "captions.json").write_text(json.dumps({"car": ["a red car"], "tree": ["a green tree"]}))
    (root / "study.yaml").write_text(STUDY.format(folder=root / "set"))
    return root


@pytest.fixture(autouse=True)
def _inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(world / "cache"))
    monkeypatch.chdir(world)


@pytest.fixture(scope="module")
def finished(world: Path) -> Path:
    """The folder of one whole run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DALDA_CACHE", str(world / "cache"))
        patch.chdir(world)
        run_experiment(world / "study.yaml", out=world / "whole")
    return world / "whole"


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def dalda(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_every_trial_has_a_file_and_its_rows(finished: Path) -> None:
    plan = planned_trials(finished)
    assert [(one.arm, one.shots) for one in plan] == [
        (arm, shots) for shots in (1, 2) for arm in ("real", "random", "adaptive")
    ]
    results = [read_result(finished / "results" / f"{one.id}.json") for one in plan]
    assert [(one.arm, one.seed, one.shots) for one in results] == [(one.arm, 0, one.shots) for one in plan]
    assert [one.real_images for one in results] == [2, 2, 2, 4, 4, 4]
    # An image of so few steps may be invalid; such an image is excluded.
    assert all(bool(one.synthetic_images) == (one.arm != "real") for one in results)
    assert all(one.synthetic_images <= one.real_images for one in results)
    rows = [row for row in rows_of(finished) if row["metric"] == "accuracy" and row["epoch"] == "last"]
    assert [float(row["value"]) for row in rows] == [one.accuracy for one in results]
    assert list(rows[0]) == ["dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value"]


def test_sets_are_shared_and_hold_what_the_arms_say(finished: Path) -> None:
    plan = planned_trials(finished)
    sets = {
        arm: {one.synthetic for one in plan if one.arm == arm} for arm in ("real", "random", "adaptive")
    }
    assert [len(sets[arm]) for arm in ("random", "adaptive")] == [1, 2]
    assert sets["real"] == {None}
    (shared,) = sets["random"]
    lines = [json.loads(line) for line in (Path(str(shared)) / "train/metadata.jsonl").open()]
    assert {line["prompt"] for line in lines} == {"a photo of a car", "a photo of a tree"}
    assert len(list((finished / "synthetic").iterdir())) == 3


def test_training_images_are_never_tested_on(world: Path, finished: Path) -> None:
    for task in tasks_of(
        parse_study(STUDY.format(folder=world / "set")).model_copy(update={"out": finished})
    ):
        assert {one.sha256 for one in task.split.images}.isdisjoint(
            one.sha256 for one in task.validation.images
        )


def test_running_again_makes_nothing(world: Path, finished: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (finished / "synthetic").rglob("*") if path.is_file()
    }
    table = (finished / "results.csv").read_bytes()
    report = run_experiment(world / "study.yaml", out=finished)
    assert (report.trials, report.trained, report.generated) == (6, 0, 0)
    assert (finished / "results.csv").read_bytes() == table
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_some_arms_first_then_all_is_the_same(world: Path, finished: Path, tmp_path: Path) -> None:
    first = run_experiment(world / "study.yaml", out=tmp_path / "run", only=["adaptive"])
    assert (first.trained, len({row["arm"] for row in rows_of(tmp_path / "run")})) == (2, 1)
    second = run_experiment(world / "study.yaml", out=tmp_path / "run")
    assert (second.trained, second.trials) == (4, 6)
    for name in ("results.csv",):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_only_what_changed_is_made(world: Path, finished: Path) -> None:
    other = json.dumps({"car": ["a blue car"], "tree": ["a green tree"]})
    (world / "captions-2.json").write_text(other)
    text = (world / "study.yaml").read_text().replace("captions.json", "captions-2.json")
    (world / "changed.yaml").write_text(text)
    seen = dry_run_experiment(world / "changed.yaml", out=finished)
    assert (seen.missing_trials, seen.missing_images, seen.images) == (2, 6, 10)
    assert not list((finished / "synthetic").glob("*/train/*/*.partial"))


def test_a_dry_run_makes_nothing(world: Path, tmp_path: Path) -> None:
    result = dalda("run", world / "study.yaml", "-o", tmp_path / "run", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["trials"], answer["missing_trials"], answer["synthetic_sets"]) == (6, 6, 3)
    assert (answer["images"], answer["missing_images"]) == (10, 10)
    assert answer["generating_seconds"] > 0
    assert answer["training_seconds"] is not None
    assert answer["megabytes"] > 0
    assert not (tmp_path / "run").exists()


def test_only_sets_whose_images_depend_on_no_shots_are_shared(world: Path) -> None:
    arms = (
        "{name: fixed, ip_adapter_scale: 0.5}",
        "{name: option, ip_adapter_scale: 0.5, method_option: {ip_adapter_scale: adaptive}}",
        "{name: guided, method: real-guidance}",
    )
    study = STUDY.format(folder=world / "set").partition("arms:")[0] + f"arms: [{', '.join(arms)}]"
    shots = {(one.arm, one.train.shots): one.synthetic for one in trials_of(parse_study(study))}
    made_from = {key: config.shots for key, config in shots.items() if config is not None}
    assert {made_from["fixed", few] for few in (1, 2)} == {2}
    assert [made_from[arm, few] for arm in ("option", "guided") for few in (1, 2)] == [1, 2, 1, 2]


def test_each_set_is_made_in_the_precision_of_its_arm(world: Path, tmp_path: Path) -> None:
    arms = "{name: a, ip_adapter_scale: 0.4, dtype: fp32}, {name: b, ip_adapter_scale: 0.5, dtype: bf16}"
    study = STUDY.format(folder=world / "set").partition("arms:")[0] + f"arms: [{arms}]"
    run_experiment(parse_study(study.replace("[1, 2]", "1")), out=tmp_path)
    lines = [json.loads(line) for path in tmp_path.rglob("metadata.jsonl") for line in path.open()]
    assert {(one["ip_adapter_scale"], one["dtype"]) for one in lines} == {(0.4, "fp32"), (0.5, "bf16")}


def test_other_wordings_of_the_classes_are_other_trials(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "set", tmp_path / "set")
    study = parse_study(STUDY.format(folder=tmp_path / "set")).model_copy(update={"out": tmp_path / "run"})
    before = {task.id for task in tasks_of(study)}
    (tmp_path / "set" / "class_names.csv").write_text("car,car\n")
    assert {task.id for task in tasks_of(study)} == before
    (tmp_path / "set" / "class_names.csv").write_text("car,motor car\n")
    assert before.isdisjoint(task.id for task in tasks_of(study))


def test_what_is_not_a_runs_is_left_alone(world: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"did not make, as 'notes\.txt'"):
        run_experiment(world / "study.yaml", out=tmp_path)
    with pytest.raises(UserError, match="is a file"):
        run_experiment(world / "study.yaml", out=tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("captions.json", "nowhere.json", "there is no caption file"),
        ("ip_adapter_scale: uniform", "ip_adapter_scale: 3", "between 0 and 1"),
        ("ip_adapter_scale: uniform", "ip_adapter_scale: much", "no IP-Adapter scale policy 'much'"),
        ("shots: [1, 2]", "shots: [5]", "has 3 images for train of 6"),
        ("seeds: 1", "seeds: 1\nsynthetic_dir: made", "let its name hold {seed}"),
        ("steps: 1,", "steps: 1, model_option: {config: x},", "config= is for a model in one file"),
    ],
)
def test_mistakes_are_found_before_the_work(
    world: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text((world / "study.yaml").read_text().replace(old, new))
    result = dalda("run", study, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_what_an_arm_leaves_out_is_kept_and_counted(world: Path, tmp_path: Path) -> None:
    text = (world / "study.yaml").read_text().replace("[1, 2]", "2")
    random = "{name: random, captions: base, ip_adapter_scale: uniform"
    (world / "plain.yaml").write_text(text)
    (world / "strict.yaml").write_text(text.replace(random, f"{random}, min_clip_probability: 0.8"))
    whole, strict = tmp_path / "whole", tmp_path / "strict"
    for place, name in ((whole, "plain.yaml"), (strict, "strict.yaml")):
        run_experiment(world / name, out=place, only=["random"])
    (made,) = (strict / "synthetic").iterdir()
    first, *_ = [json.loads(line) for line in (made / "train/metadata.jsonl").open()]
    line = {"request_id": first["request_id"], "decision": "reject", "time": "2026-01-01", "author": "me"}
    (made / "review.jsonl").write_text(json.dumps(line) + "\n")
    report = run_experiment(world / "strict.yaml", out=strict, only=["random"])
    lines = (strict / "excluded.jsonl").read_text(encoding="utf-8").splitlines()
    ids = {trial.id for trial in planned_trials(strict)}
    kept = [line for line in map(json.loads, lines) if line["of"] in ids]
    assert (report.trained, Counter(one["kind"] for one in kept)) == (1, report.excluded["random"])
    assert report.excluded["random"].keys() == {"rejected in review", "CLIP class probability below 0.8"}
    used, images = (sum(one.synthetic_images for one in read_results(place)) for place in (strict, whole))
    assert used + len(kept) == images
    assert "random excludes" in describe(report)
    again = run_experiment(world / "strict.yaml", out=strict, only=["random"])
    assert (again.trained, again.excluded) == (0, report.excluded)


def test_an_arm_that_is_none_is_named(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no arm 'dalda' in the study; it has real, random, adaptive"):
        run_experiment(world / "study.yaml", out=tmp_path / "run", only=["dalda"])


def test_results_of_a_damaged_run_are_not_read_as_one(finished: Path, tmp_path: Path) -> None:
    """Without run.yaml's list, results of earlier settings would be pooled with the others."""
    shutil.copytree(finished / "results", tmp_path / "results")
    assert read_results(tmp_path)
    (tmp_path / "run.yaml").write_text("[")
    with pytest.raises(UserError, match=r"run\.yaml.* is not YAML"):
        read_results(tmp_path)


def test_a_moved_model_makes_the_same_sets(world: Path) -> None:
    def sets(place: str) -> list[str]:
        text = STUDY.format(folder=world / "set").replace("steps: 1,", f"steps: 1, model: {place},")
        (world / f"{place}.yaml").write_text(text)
        study = resolved(world / f"{place}.yaml", out=None, root=None, original=False)
        return [task.set_id for task in tasks_of(study) if task.set_id]

    shutil.copytree(located(PRESETS["doodle"].model), world / "here")
    first = sets("here")
    (world / "here").rename(world / "there")
    assert sets("there") == first
    with (world / "there" / "unet" / "config.json").open("a") as file:
        file.write(" ")
    assert not set(sets("there")) & set(first)
