"""Reviewing a set: what is refused, what is counted, and which samples are doubtful."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from dalda.cli import app
from dalda.cli.output.lines import describe
from dalda.config import ReportConfig
from dalda.errors import UserError
from dalda.review.log import ReviewLog
from dalda.workflows.report import report
from dalda.workflows.review import (
    BackgroundProbabilities,
    clip_probabilities_of,
    images_of,
    review_report,
)
from drawn_set import drawn_set


def test_what_is_no_set_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["review", str(tmp_path), "--no-browser"])
    assert result.exit_code == 2
    assert "not a folder made by dalda augment" in result.stderr
    out = drawn_set(tmp_path, classes=("car",), sources=1, copies=1)
    (out / "train/metadata.jsonl").write_text("")
    with pytest.raises(UserError, match="no images yet"):
        images_of(out)


def test_metadata_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    out = drawn_set(tmp_path, classes=("car",), sources=1, copies=1)
    metadata = out / "train/metadata.jsonl"
    line = json.loads(metadata.read_text())
    for name in ("../../real/car/00000.png", "/etc/hostname"):
        metadata.write_text(json.dumps({**line, "file_name": name}) + "\n")
        result = CliRunner().invoke(app, ["review", str(out), "--no-browser"])
        assert result.exit_code == 2
        assert "outside it" in result.stderr


def test_only_samples_that_are_there_are_counted(tmp_path: Path) -> None:
    out = drawn_set(tmp_path, classes=("car",), sources=1, copies=3)
    samples = images_of(out)
    ReviewLog(out).append(samples[0].request_id, "keep", "page")
    ReviewLog(out).append(samples[1].request_id, "reject", "page")
    ReviewLog(out).append("gone", "reject", "page")
    report = review_report(out, samples)
    assert (report.images, report.kept, report.rejected) == (3, 1, 1)
    assert "1 undecided" in describe(report)


def settled(out: Path) -> dict[str, Any]:
    probabilities = BackgroundProbabilities(lambda: clip_probabilities_of(out, images_of(out)))
    deadline = time.monotonic() + 300
    while probabilities.state()["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return probabilities.state()


def test_samples_of_another_class_are_doubtful_to_review_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    out = drawn_set(tmp_path, classes=("house", "umbrella", "tree"), sources=1, copies=4, scored=True)
    samples = images_of(out)
    wrong = next(one for one in samples if one.label == "house")
    wrong.path.write_bytes(next(one for one in samples if one.label == "umbrella").path.read_bytes())
    found = settled(out)
    assert found["state"] == "done"
    lowest = min(range(len(samples)), key=lambda place: found["values"][place])
    assert samples[lowest] == wrong
    html = report(ReportConfig(places=(out,), out=tmp_path / "report.html")).path.read_text()
    assert f"house: {found['values'][lowest]:.2f}" in html.partition("Most doubtful")[2][:4000]


def test_the_wordings_of_the_data_set_hold_in_review(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    out = drawn_set(tmp_path, classes=("house", "tree"), sources=1, copies=2, scored=True)
    settings = yaml.safe_load((out / "dalda.yaml").read_text())
    (out / "dalda.yaml").write_text(yaml.safe_dump({**settings, "dataset": str(tmp_path / "real")}))
    plain = clip_probabilities_of(out, images_of(out))
    (tmp_path / "real/class_names.csv").write_text("house,tree\ntree,house\n")
    exchanged = clip_probabilities_of(out, images_of(out))
    assert exchanged == pytest.approx([1 - value for value in plain], abs=1e-4)


def test_without_a_clip_model_the_reason_is_given(tmp_path: Path) -> None:
    out = drawn_set(tmp_path, classes=("car", "boat"), sources=1, copies=1)
    found = settled(out)
    assert found == {"state": "missing", "reason": "the settings name no CLIP model"}


def test_a_model_that_a_strangers_folder_names_is_not_fetched(tmp_path: Path) -> None:
    out = drawn_set(tmp_path, classes=("car", "boat"), sources=1, copies=1)
    (out / "dalda.yaml").write_text("preset: {clip: someone/model}")
    found = settled(out)
    assert found["state"] == "missing"
    assert found["reason"].startswith("the CLIP model 'someone/model' is not on disk")


def test_a_model_that_is_half_there_is_not_fetched(
    tmp_path: Path, half_fetched: str, no_network: list[str]
) -> None:
    out = drawn_set(tmp_path, classes=("car", "boat"), sources=1, copies=1)
    (out / "dalda.yaml").write_text(f"preset: {{clip: {half_fetched}}}")
    found = settled(out)
    assert found["state"] == "missing"
    assert f"'{half_fetched}' on disk is not complete" in found["reason"]
    assert no_network == []
