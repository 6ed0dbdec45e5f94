"""An output among the classes of a data set, where it would be a class or an image, is refused at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.workflows.drawn_set import drawn_set

from dalda.cli import app

STUDY = "dataset: real\nshots: [1]\nseeds: 1\narms:\n  - {name: real, method: real}\n"
TABLE = "source_image_path,aug_prompt_path,used_prompt,scale\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """real/ of class folders, out/ with a synthetic set of it, a run, a study, and original images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    drawn_set(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.yaml").write_text("command: run\nsettings: {dataset: real}\n")
    source = next(Path("real").rglob("*.png"))
    (tmp_path / "original").mkdir()
    (tmp_path / "original/aug-0-0.png").write_bytes(source.read_bytes())
    (tmp_path / "original/source_image_prompt.csv").write_text(f"{TABLE}{source},aug-0-0.png,a car,0.5\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "augment real -o real/out",
        "train real --backbone doodle -o real/run",
        "run study.yaml -o real/run",
        "run study.yaml --dry-run -o real/run",
        "compare real --methods text -o real/comparison",
        "captions real --llm openai:tiny --base-url http://127.0.0.1:9/v1 -o real/captions.json",
        "plot run -o real/figure.png",
        "import original real -o real/imported",
        "merge out -o real/merged",
        "merge out -o out/train/merged",
        "export out -o real/exported",
    ],
)
def test_an_output_among_the_classes_is_refused_at_once(folder: Path, words: str) -> None:
    before = {path for name in ("real", "out") for path in (folder / name).rglob("*")}
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 2, result.output
    assert "lies among the" in result.stderr
    assert {path for name in ("real", "out") for path in (folder / name).rglob("*")} == before
