"""The report over real folders: what is found in them, what is shown, and what is excluded and counted."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tests.reporting.test_answer import arms
from tests.workflows.drawn_set import drawn_set

from dalda.config import ReportConfig
from dalda.errors import UserError
from dalda.evaluation.results import RunFolder, read_results
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.reporting import image_set
from dalda.review.log import ReviewLog
from dalda.workflows import clip_of_set
from dalda.workflows import report as reporting
from dalda.workflows.report import _training_facts, report
from dalda.workflows.reports import PageReport
from dalda.workflows.results import report_inputs

EVIL = ("boat", "<script>alert(1)</script>", "../../etc")


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CLIP on disk: quick, and a case of its own."""
    monkeypatch.setattr(clip_of_set, "folder_on_disk", lambda _: None)


def written(*places: Path, **options: object) -> tuple[str, PageReport]:
    out = places[0].parent / "report.html"
    out.unlink(missing_ok=True)
    done = report(ReportConfig(places=places, out=out, **options))  # type: ignore[arg-type]
    return out.read_text(encoding="utf-8"), done


def run_in(folder: Path, **shares: float) -> Path:
    RunFolder(folder, "dalda train").save(arms((0, 1, 2), **shares), {})
    return folder


def test_a_set_is_shown_whole_with_what_clip_says_of_it(tmp_path: Path) -> None:
    html, done = written(drawn_set(tmp_path, labels=EVIL, drop=2))
    assert (done.images, done.shown, done.trials, done.sets) == (10, 10, 0, 1)
    assert html.count("<img ") >= 10 + 6
    assert "are off-class: CLIP gives another class a higher probability" in html
    assert re.search(r"near-duplicates? of a real image to CLIP", html)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "../../etc" in html
    assert "of one colour" in html
    assert "The adaptive scale follows the source image" in html
    assert "10 synthetic images were generated from 5 real images." in html
    again = report(ReportConfig(places=(tmp_path / "out",), out=tmp_path / "report.html"))
    assert again.path.read_text(encoding="utf-8") == html


def test_of_a_very_large_set_some_images_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "MOST_MEASURED", 4)
    monkeypatch.setattr(image_set, "MOST_DOTS", 3)
    html, done = written(drawn_set(tmp_path))
    assert done.images == 12
    assert "Each dot is one of 3 images, evenly chosen of 12." in html
    assert re.search(r"\d of 4 images \(\d+ %; evenly chosen of 12\) are off-class", html)
    assert re.search(r"(\d of|None of) 4 images(, evenly chosen,| \(\d+ %; evenly chosen of 12\))", html)


@pytest.mark.usefixtures("blind")
def test_without_clip_on_disk_the_rest_is_there(tmp_path: Path) -> None:
    html, done = written(drawn_set(tmp_path, model="sd15"))
    assert html.count("IP-Adapter scale adaptive") == 1
    assert "doodles, shots 2, seed 0, split strategy original" in html
    assert "scale sampling truncated, per image 2" in html
    assert done.shown == 12
    assert "is not on disk, and nothing is fetched" in html


def test_a_half_fetched_clip_costs_only_what_it_would_tell(
    tmp_path: Path, half_fetched: str, no_network: list[str]
) -> None:
    preset = {"model": "runwayml/stable-diffusion", "clip": half_fetched}
    html, done = written(drawn_set(tmp_path, model="sd15", preset=preset))
    assert done.shown == 12
    assert f"{half_fetched}&#39; on disk is not complete" in html
    assert no_network == []


@pytest.mark.usefixtures("blind")
def test_the_answer_comes_from_trials_where_there_are_any(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", real=0.5, dalda=0.8)
    html, done = written(run, drawn_set(tmp_path))
    assert done.trials == 6
    assert done.headline.startswith("'dalda' helps: +30.0 points")
    assert html.index("+30.0 points") < html.index("real image of boat") < html.index("What was run")


@pytest.mark.usefixtures("blind")
def test_two_runs_stay_apart(tmp_path: Path) -> None:
    runs = run_in(tmp_path / "weak", real=0.3, dalda=0.4), run_in(tmp_path / "strong", real=0.7, dalda=0.8)
    html, done = written(*runs)
    assert (done.trials, done.headline[:22]) == (12, "All 2 comparisons gain")
    for name in ("weak", "strong"):
        assert f"{name}, doodles, 2 shots: accuracy per arm" in html
    namesakes = [shutil.copytree(run, tmp_path / run.name / "same/run") for run in runs]
    assert list(report_inputs(namesakes).runs) == [str(run) for run in namesakes]


@pytest.mark.usefixtures("blind")
def test_the_page_says_how_it_was_trained(tmp_path: Path) -> None:
    run, study = run_in(tmp_path / "run", real=0.5), run_in(tmp_path / "study", real=0.5, wide=0.6)
    trained = {"backbone": None, "finetune": "head", "epochs": 7, "iterations": 11, "batch_size": 32}
    usual = {**trained, "backbone": "resnet50", "epochs": 50, "iterations": 200, "batch_size": 64}
    recorded = {"device": "cpu", "versions": {"torch": "9.9"}, "seconds": 75.2}
    change(run, settings={"dataset": "doodles"}, arms={"real": trained}, recorded=recorded)
    arms = {
        "real": {**usual, "mixing": "per-image-replacement"},
        "wide": {**usual, "mixing": "concatenation"},
    }
    change(study, settings={"dataset": "pets"}, arms=arms)
    facts = _training_facts(run)
    assert facts["Classifier"] == "doodle-vision, finetune head, 7 epochs of 11 steps, batch size 32"
    assert (facts["Versions"], facts["Time"]) == ("torch 9.9", "1 min 15 s, on cpu")
    change(run, settings={"dataset": "doodles", "head": "lp++"}, arms={"real": {**trained, "head": "auto"}})
    assert _training_facts(run)["Classifier"] == "doodle-vision, finetune head, head lp++"
    by_step = {"real": {**usual, "head": "auto", "epochs": 7}}
    for original, arms_of_study, end in (
        (False, {"real": {**usual, "head": "auto", "batch_size": 32}}, "head auto"),
        (False, by_step, "7 epochs of 200 steps, batch size 64"),
        (True, {"real": {**usual, "head": "auto", "batch_size": 32}}, "200 steps, batch size 32"),
    ):
        change(run, settings={"dataset": "doodles", "original": original}, arms=arms_of_study)
        assert _training_facts(run)["Classifier"].endswith(end)
    change(run, settings={"dataset": "doodles"}, arms={"real": trained}, recorded=recorded)
    html, _ = written(run, study)
    assert "study: resnet50, finetune head, 50 epochs of 200 steps, batch size 64" in html
    assert " or concatenation" in html
    (run / "run.yaml").write_text("[" * 5000)
    assert _training_facts(run) == {}


def change(run: Path, **settings: object) -> None:
    """Other words in a run's run.yaml."""
    path = run / "run.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))


@pytest.mark.usefixtures("blind")
def test_a_class_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    out = drawn_set(tmp_path, drop=4)
    for one in SyntheticDataset.existing(out).synthetic_images():
        if one.label == "boat":
            ReviewLog(out).append(one.request_id, "reject", "test")
    html, _ = written(out)
    assert html.count("No image is left: all were dropped or rejected.") == 2
    assert "at least 4 per class" in html


@pytest.mark.usefixtures("blind")
def test_what_was_rejected_is_left_out_and_counted(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    first = SyntheticDataset.existing(out).synthetic_images()[0]
    ReviewLog(out).append(first.request_id, "reject", "test")
    html, done = written(out)
    assert (done.images, done.rejected) == (11, 1)
    assert "rejected in dalda review" in html
    _, kept = written(out, ignore_review=True)
    assert (kept.images, kept.rejected) == (12, 0)


@pytest.mark.usefixtures("blind")
def test_many_images_are_sampled_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_set, "MOST_SOURCES", 1)
    monkeypatch.setattr(image_set, "MOST_OF_A_SOURCE", 3)
    html, done = written(drawn_set(tmp_path, copies=5))
    assert (done.images, done.shown) == (30, 9)
    assert "The page shows 9 of the 30 images" in html
    assert "2 more not shown" in html
    weights = [float(text) for text in re.findall(r"<b>scale ([0-9.]+)</b>", html)]
    assert weights[:3] == sorted(weights[:3])
    ends = sorted(
        one.ip_adapter_scale for one in SyntheticDataset.existing(tmp_path / "out").synthetic_images()[:5]
    )
    assert [weights[0], weights[2]] == [round(ends[0], 2), round(ends[-1], 2)]


@pytest.mark.usefixtures("blind")
def test_the_page_keeps_to_its_size_and_shows_some_of_every_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "THUMBNAIL_BYTES", 120_000)
    html, done = written(drawn_set(tmp_path, sources=3, size=160))
    assert 0 < done.shown < done.images
    assert len(html) < 120_000 * 4 / 3 + 150_000
    assert "none shown" not in html


@pytest.mark.usefixtures("blind")
def test_of_sets_of_one_kind_one_is_shown(tmp_path: Path) -> None:
    for seed in range(2):
        for guidance in ("adaptive", "uniform"):
            drawn_set(
                tmp_path / "x", labels=("boat", "car"), sources=1, seed=seed, ip_adapter_scale=guidance
            )
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "x/out").rename(tmp_path / "run" / f"{guidance}-seed{seed}")
    html, done = written(tmp_path / "run")
    assert (done.sets, done.images) == (4, 8)
    assert "2 more sets" in html
    assert "adaptive-seed0" in html
    assert "adaptive-seed1" not in html


@pytest.mark.usefixtures("blind")
def test_real_images_that_are_gone_are_missed_in_words(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    shutil.rmtree(tmp_path / "real")
    html, done = written(out)
    assert done.shown == 12
    assert "6 of 6 are missing or have changed" in html
    assert "no longer where it was" in html


@pytest.mark.usefixtures("blind")
def test_a_page_is_never_written_over_another_file(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.html"):
        report(ReportConfig(places=(out,), out=tmp_path / "mine.html"))
    assert (tmp_path / "mine.html").read_text() == "mine"
    with pytest.raises(UserError, match=r"must end in \.html"):
        report(ReportConfig(places=(out,), out=tmp_path / "report.txt"))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither results nor a synthetic set"):
        report_inputs([tmp_path])
    with pytest.raises(UserError, match="there is no folder"):
        report_inputs([tmp_path / "nowhere"])


def test_results_come_back_in_the_order_of_the_trials(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", real=0.5, zebra=0.6, apple=0.7)
    assert list(dict.fromkeys(one.arm for one in read_results(run))) == ["real", "zebra", "apple"]
    assert [one.seed for one in read_results(run)][:3] == [0, 1, 2]


@pytest.mark.parametrize("harm", ["{", "[]", '{"arm": 3}'])
def test_a_damaged_result_is_one_sentence(tmp_path: Path, harm: str) -> None:
    run = run_in(tmp_path / "run", real=0.5)
    first = min((run / "results").iterdir())
    first.write_text(harm)
    with pytest.raises(UserError, match=first.name):
        read_results(run)


def test_an_result_may_say_more_than_is_known(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", real=0.5)
    path = next((run / "results").glob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "new": 1}))
    assert len(read_results(run)) == 3


def test_a_studys_plan_names_its_arms_and_its_trials(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", base=0.5, zebra=0.6)
    trials = yaml.safe_load((run / "run.yaml").read_text())["trials"]
    for trial in trials:
        trial["synthetic"] = None if trial["arm"] == "base" else "elsewhere/synthetic/abc"
    change(run, trials=sorted(trials, key=lambda trial: str(trial["arm"]), reverse=True))
    drawn_set(tmp_path / "x", labels=("boat", "car"), sources=1)
    (run / "synthetic").mkdir()
    (tmp_path / "x/out").rename(run / "synthetic/abc")
    found = report_inputs([run])
    assert list(dict.fromkeys(one.arm for one in found.results)) == ["zebra", "real"]
    assert list(found.sets.values()) == ["zebra"]
