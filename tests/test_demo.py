"""The demo, in small: the same code with fewer seeds, images and steps."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from dalda import demo
from dalda.cli import app


@pytest.fixture(autouse=True)
def _small(doodle_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SEEDS": (0, 1), "SHOTS": 1, "PER_IMAGE": 1}.items():
        monkeypatch.setattr(demo, name, value)


@pytest.mark.slow
def test_the_demo_answers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "-o", str(out), "--json"])
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert set(answer) >= {"arms", "gain", "images", "seconds", "figure", "sheet"}
    baselines = ["zero-shot", "real-clip", "real", "real-linear", "real-augmented"]
    assert list(answer["arms"]) == [*baselines, "text", "uniform", "dalda"]
    for arm in answer["arms"].values():
        assert arm["low"] <= arm["mean"] <= arm["high"]
    baseline = max(answer["arms"][arm]["mean"] for arm in baselines)
    gain = answer["arms"]["dalda"]["mean"] - baseline
    assert answer["gain"]["mean"] == pytest.approx(gain)
    assert answer["images"] == 2 * 3 * 12
    assert all(Image.open(answer[name]).size[0] > 400 for name in ("figure", "sheet"))
    again = CliRunner().invoke(app, ["demo", "-o", str(out)])
    assert again.exit_code == 0, again.stderr
    assert (out / "results.csv").is_file()
    assert len(list((out / "results").glob("*.json"))) == 2 * 8
    assert "0 images generated" in again.stdout
    assert "against the strongest baseline" in again.stdout.partition("accuracy, %")[0]


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("text")
    result = CliRunner().invoke(app, ["demo", "-o", str(out)])
    assert result.exit_code == 2
    assert "thesis.txt" in result.stderr
    result = CliRunner().invoke(app, ["demo", "-o", str(out / "thesis.txt")])
    assert result.exit_code == 2
