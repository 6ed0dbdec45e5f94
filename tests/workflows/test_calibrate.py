"""`dalda calibrate`, and a set whose scales are drawn in similarity."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dalda.cli import app

FAST = ["--model-option", "steps=2", "--model-option", "guidance_scale=1.0"]


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.usefixtures("doodle_cache")
def test_scales_are_drawn_by_the_curve_that_was_measured(tmp_path: Path) -> None:
    augment = ["augment", "doodles", "--shots", 1, "--per-image", 1, *FAST, "--ip-adapter-scale", 0.5]
    refused = CliRunner().invoke(
        app, [str(word) for word in (*augment, "-o", tmp_path / "out", "--scale-unit", "similarity")]
    )
    assert refused.exit_code == 2
    assert "run dalda calibrate DATASET" in refused.output

    measured = json.loads(run("calibrate", "doodles", "--images", 2, *FAST, "--json"))
    assert (measured["images"], len(measured["similarities"])) == (2, 7)
    assert all(-1 <= value <= 1 for value in measured["similarities"])
    assert measured == json.loads(run("calibrate", "doodles", "--images", 2, *FAST, "--json"))
    # A curve by hand, so that the scale is known: half of the similarity is reached at a scale of 0.1.
    path = Path(measured["path"])
    path.write_text(json.dumps({"scales": [0, 0.1, 1], "similarities": [0, 0.5, 1]}))
    run(*augment, "-o", tmp_path / "out", "--scale-unit", "similarity")
    records = [
        json.loads(line) for line in (tmp_path / "out/train/metadata.jsonl").read_text().splitlines()
    ]
    assert {(one["ip_adapter_scale"], one["drawn_similarity"]) for one in records} == {(0.1, 0.5)}

    path.write_text(json.dumps({"scales": [0, 0.2, 1], "similarities": [0, 0.5, 1]}))
    other = CliRunner().invoke(
        app, [str(word) for word in (*augment, "-o", tmp_path / "out", "--scale-unit", "similarity")]
    )
    assert other.exit_code == 2
    assert "similarity" in other.output


def test_an_option_that_does_not_fit_is_found_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dalda.workflows.calibrate.load_generator", None)
    done = CliRunner().invoke(app, ["calibrate", "doodles", "--model-option", "config=somewhere"])
    assert done.exit_code == 2
    assert "--model-option config= is for a model in one file" in done.output
