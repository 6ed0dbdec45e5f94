"""`dalda report` and `dalda export` on the command line: what they print, and their mistakes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.workflows.drawn_set import drawn_set

from dalda.cli import app
from dalda.workflows import clip_of_set


@pytest.fixture(autouse=True)
def _blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_of_set, "folder_on_disk", lambda _: None)


def dalda(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_report_is_one_file_and_one_object(tmp_path: Path) -> None:
    out = drawn_set(tmp_path, drop=1)
    result = dalda("report", out, "-o", tmp_path / "report.html", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["images"], report["shown"], report["rejected"]) == (11, 11, 0)
    assert report["megabytes"] == round((tmp_path / "report.html").stat().st_size / 1e6, 2)
    again = dalda("report", out, "-o", tmp_path / "report.html")
    assert again.exit_code == 0, again.stderr
    assert "11 synthetic images were generated from 6 real images." in again.stdout


def test_an_export_says_what_it_did(tmp_path: Path) -> None:
    out = drawn_set(tmp_path)
    result = dalda("export", out, "--to", "hf", "--with-real", "-o", tmp_path / "x")
    assert result.exit_code == 0, result.stderr
    assert "12 synthetic and 6 real images" in result.stdout
    report = json.loads(dalda("export", out, "--to", "csv", "-o", tmp_path / "x.csv", "--json").stdout)
    assert (report["synthetic"], report["real"], report["to"]) == (12, 0, "csv")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["report", "nowhere", "-o", "r.html"], "there is no folder"),
        (["report", ".", "-o", "r.html"], "holds neither"),
        (["report", "out", "-o", "r.pdf"], "must end in .html"),
        (["export", "out", "--to", "zip", "-o", "x"], "--to cannot be 'zip'"),
        (["export", "nowhere", "-o", "x"], "not a folder made by dalda"),
        (["export", "out", "-o", "out"], "not overwritten"),
        (["export", "out", "--to", "original", "--with-real", "-o", "x"], "leave --with-real out"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    if "out" in words:
        drawn_set(tmp_path, sources=1, copies=1)
    monkeypatch.chdir(tmp_path)
    result = dalda(*words)
    assert result.exit_code == 2, result.stdout
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()
