"""Each command of the original README, as docs/compat.md has it, in the folder that it leaves behind."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.captions.chat_server import running_server
from tests.compat.tiny_pets import PUBLISHED, write_published_tree
from tests.datasets.archives import caltech_files, flowers_files, offer, packed, serving

from dalda.cli import app
from dalda.config.study_file import read_study

PAGE = Path(__file__).parents[2] / "docs/compat.md"


def commands() -> list[list[str]]:
    """The commands of the page's first block of shell."""
    block = re.search(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert block is not None
    return [shlex.split(line, comments=True)[1:] for line in block[1].splitlines()]


def dalda(words: list[str]) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (words, result.output)
    return result.stdout + result.stderr


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    return write_published_tree(tmp_path)


def test_the_published_files_are_read_as_published(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, (prompt, scaling) in PUBLISHED.items():
        caplog.clear()
        study = read_study(Path(name))
        assert study == read_study(Path(f"configs/{name}.py"))
        (arm,) = study.arms
        captions = "base" if prompt == "base" else "prompt_by_LLM/llm_prompt_pets_10.json"
        assert (arm.settings["captions"], arm.settings["ip_adapter_scale"]) == (captions, "adaptive")
        assert (study.device, study.seeds, study.shots) == ("auto", (0,), (1,))
        assert study.out == Path("pets-baselines") / arm.name
        assert study.synthetic_dir == f"aug/{arm.name}/pets-{{seed}}-{{shots}}"
        assert ("is called random" in caplog.text) == (scaling == "random")
        assert "device = 'cuda:0'" in caplog.text


def test_downloads_are_found_where_the_published_files_expect_them(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = tree / "datasets/oxford_pet"
    wanted = {path.relative_to(pets): path.read_bytes() for path in pets.rglob("*") if path.is_file()}
    archives = {
        f"{name}.tar.gz": packed({str(path): wanted[path] for path in wanted if path.parts[0] == name})
        for name in ("images", "annotations")
    }
    shutil.rmtree(pets)
    offered = {"pets": archives, "flowers102": flowers_files(), "caltech101": caltech_files()}
    downloads = commands()[:-3]
    assert [words[:2] for words in downloads] == [["download", name] for name in offered]
    with serving() as mirror:
        for name, files in offered.items():
            offer(mirror, monkeypatch, name, files)
        for words in downloads:
            dalda(words)
    assert {
        path.relative_to(pets): path.read_bytes() for path in pets.rglob("*") if path.is_file()
    } == wanted
    for name, images in (("pets", 37), ("flowers", 102), ("caltech", 101)):
        split = json.loads(dalda(["split", name, "--shots", "1", "--json"]))
        assert len(split["images"]) == images, name


@pytest.mark.slow
def test_the_four_published_files_from_nothing_to_the_figure(tree: Path) -> None:
    captions, run, plot = commands()[-3:]
    with running_server() as server:
        (tree / ".env").write_text(
            f"AZURE_ENDPOINT=http://127.0.0.1:{server.port}\nAZURE_API_KEY=a-key\n"
            "AZURE_API_VERSION=2024-06-01\nAZURE_MODEL=gpt-4\n"
        )
        dalda(captions)
    written = json.loads((tree / "prompt_by_LLM/llm_prompt_pets_10.json").read_text())
    assert {len(lines) for lines in written.values()} == {10}
    assert run[1] in PUBLISHED
    for name in PUBLISHED:
        dalda([word.replace(run[1], name) for word in run])
        out = tree / "pets-baselines" / name.removeprefix("cfg_").replace("_", "-")
        with (out / "results_0_1.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "Accuracy"]
        assert [(row["epoch"], row["split"]) for row in rows] == [
            ("0", "Training"),
            ("0", "Validation"),
            ("1", "Training"),
            ("1", "Validation"),
        ]
        synthetic = tree / "aug" / out.name / "pets-0-1"
        images, dropped = len(list(synthetic.rglob("*.png"))), synthetic / "dropped.jsonl"
        assert images >= 30
        assert images + (len(dropped.read_text().splitlines()) if dropped.exists() else 0) == 37
        assert len((synthetic / "source_image_prompt.csv").read_text().splitlines()) == images + 1
    dalda(plot)
    assert (tree / "visualizations/pets.png").read_bytes().startswith(b"\x89PNG")
