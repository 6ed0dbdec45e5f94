"""Commands on data sets, synthetic sets and runs in a real S3 bucket."""

import json
from pathlib import Path

import pytest
from tests.storage.test_object_store import files
from tests.test_train_command import CLASSES, doodle, synthetic
from tests.workflows.test_experiment import STUDY

from dalda.config import ExportConfig, MergeConfig, PredictConfig, ReportConfig, TrainConfig
from dalda.datasets.download import download
from dalda.errors import UserError
from dalda.evaluation.results import read_results
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.review.log import ReviewLog, current_decisions
from dalda.storage import path_of, write
from dalda.workflows import clip_of_set
from dalda.workflows.classifier import predict
from dalda.workflows.experiment import run_experiment
from dalda.workflows.export import export
from dalda.workflows.merge import merge
from dalda.workflows.report import report
from dalda.workflows.review import images_of, review_report
from dalda.workflows.train import train

pytestmark = pytest.mark.slow


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in CLASSES:
        for number in range(5):
            part = "train" if number < 2 else "val"
            doodle(tmp_path / "photos" / part / name / f"{number}.png", name, number)
    return tmp_path / "photos"


@pytest.fixture
def stored(photos: Path, bucket: Path, tmp_path: Path) -> Path:
    """A data set and a synthetic set of it, in a bucket."""
    synthetic(tmp_path / "made", photos)
    for path in (*photos.rglob("*.png"), *(tmp_path / "made").rglob("*.*")):
        data = path.read_bytes()
        if path.name == "metadata.jsonl":
            text = data.decode().replace(str(tmp_path), str(bucket))
            lines = [json.loads(line) | {"seed": seed} for seed, line in enumerate(text.splitlines())]
            data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        write(bucket / path.relative_to(tmp_path).as_posix(), data)
    return bucket


def short(dataset: Path, made: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        dataset=str(dataset),
        synthetic=(made,),
        out=out,
        baselines=False,
        backbone="doodle",
        seeds=2,
        epochs=1,
        iterations=2,
        batch_size=4,
    )


def test_a_training_in_a_bucket_is_that_of_a_disk(
    stored: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_of_set, "folder_on_disk", lambda _: None)
    run = stored / "run"
    train(short(stored / "photos", stored / "made", run))
    there = files(run)
    assert {"run.yaml", "results.csv"} <= there.keys()
    assert len([name for name in there if name.endswith(".safetensors")]) == 4
    train(short(photos, tmp_path / "made", tmp_path / "run"))
    pairs = zip(read_results(run), read_results(tmp_path / "run"), strict=True)
    assert all((a.arm, a.seed, a.right, a.loss) == (b.arm, b.seed, b.right, b.loss) for a, b in pairs)
    train(short(stored / "photos", stored / "made", run))  # nothing is left to do
    assert {name: data for name, data in files(run).items() if name != "run.yaml"} == {
        name: data for name, data in there.items() if name != "run.yaml"
    }
    predicted = predict(
        PredictConfig(classifier=run, images=(stored / "photos/val",), out=stored / "predictions.csv")
    )
    assert (predicted.arm, len(predicted.predictions)) == ("made", 9)
    assert files(stored)["predictions.csv"].count(b"\n") == 10
    done = report(ReportConfig(places=(run, stored / "made"), out=stored / "report.html"))
    assert (done.trials, done.images) == (4, 12)
    html = files(stored)["report.html"].decode()
    assert html.count("<img ") >= 12
    assert "real image of car" in html


def test_a_study_in_a_bucket_is_that_of_a_disk(stored: Path, photos: Path, tmp_path: Path) -> None:
    study = STUDY.partition("  - {{name: adaptive")[0]
    numbers = []
    for dataset, out in ((photos, tmp_path / "run"), (stored / "photos", stored / "run")):
        (tmp_path / "study.yaml").write_text(study.format(folder=dataset))
        done = run_experiment(tmp_path / "study.yaml", out=out)
        assert (done.trials, done.trained, done.generated > 0) == (4, 4, True)
        results = read_results(out)
        numbers.append([(one.arm, one.seed, one.shots, one.right, one.loss) for one in results])
    assert numbers[0] == numbers[1]
    there = files(stored / "run")
    made = {Path(name).name: data for name, data in there.items() if "/train/" in name and ".png" in name}
    assert made == {path.name: path.read_bytes() for path in tmp_path.glob("run/synthetic/*/train/*/*.png")}
    again = run_experiment(tmp_path / "study.yaml", out=stored / "run")
    assert (again.trials, again.trained, again.generated) == (4, 0, 0)
    assert files(stored / "run").keys() == there.keys()


def test_sets_of_buckets_are_joined_on_a_disk(stored: Path, tmp_path: Path) -> None:
    decision = ReviewLog(stored / "made").append("0" * 20, "reject", "me")
    joined = merge(MergeConfig(places=(stored / "made",), out=tmp_path / "all"))
    assert joined.images == 12
    assert ReviewLog(tmp_path / "all").decisions() == [decision]
    images = SyntheticDataset.existing(tmp_path / "all").synthetic_images()
    whole = {path.stem: path.read_bytes() for path in (tmp_path / "made").rglob("*.png")}
    assert {image.request_id: image.path.read_bytes() for image in images} == whole
    for attempt in (
        lambda: merge(MergeConfig(places=(stored / "made",), out=stored / "all")),
        lambda: export(ExportConfig(source=stored / "made", out=stored / "all")),
        lambda: report(ReportConfig(places=(stored / "made",), out=stored / "all.html", open=True)),
        lambda: download("pets", stored / "pets"),
    ):
        with pytest.raises(UserError, match="lies in an object store, and a folder or file of a disk is"):
            attempt()
    assert not [name for name in files(stored) if name.startswith("all")]


def test_decisions_about_images_in_a_bucket_are_kept(stored: Path, tmp_path: Path) -> None:
    made = stored / "made"
    images = images_of(made)
    one, other = ReviewLog(made), ReviewLog(made)
    one.append(images[0].request_id, "reject", "me")
    other.append(images[1].request_id, "keep", "you")
    one.append(images[1].request_id, "undo", "me")
    assert [x.decision for x in one.decisions()] == ["reject", "keep", "undo"]
    assert current_decisions(made).keys() == {images[0].request_id}
    assert (review_report(made, images).kept, review_report(made, images).rejected) == (0, 1)
    done = export(ExportConfig(source=made, out=tmp_path / "parquet", to="parquet"))
    assert (done.synthetic, done.rejected) == (11, 1)
    assert not [name for name in files(made) if "lease" in name]
    assert path_of(str(made)) == made
