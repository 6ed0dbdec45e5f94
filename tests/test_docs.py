"""What the documents say is so: examples on the embedded world run, all others name what is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import answers_table
from dalda.cli import app
from dalda.config import AugmentConfig
from dalda.generation.sharding import Shard

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
CONTEXT = click.Context(app)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every `dalda ...` line of a page's shell blocks, continued lines joined."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("dalda ")]


def options_of(words: list[str]) -> set[str]:
    """The options of the command that a line names."""
    group, name = app, words[0]
    if name == "config":
        group, name = app.get_command(CONTEXT, name), words[1]  # type: ignore[assignment]
    command = group.get_command(CONTEXT, name)
    assert command is not None, words
    return {option for parameter in command.get_params(CONTEXT) for option in parameter.opts} | {"--help"}


def commands_in_text(page: Path) -> list[list[str]]:
    """Every `dalda ...` between backticks."""
    text = re.sub(FENCE, "", page.read_text(encoding="utf-8"))
    found = re.findall(r"`dalda ([a-z]+ [^`]+)`", text)
    return [words.replace("'", "").split() for words in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_names_what_is_there(page: Path) -> None:
    for words in commands(page) + commands_in_text(page):
        named = {word for word in words[1:] if word.startswith("-")}
        assert named <= options_of(words), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_yaml_block_is_read(page: Path) -> None:
    assert all(yaml.safe_load(block) for block in blocks(page, "yaml"))


def test_the_ray_cluster_is_one_that_ray_accepts() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (cluster,) = (block for block in blocks(ROOT / "docs/scale.md", "yaml") if "cluster_name" in block)
    validate_config(prepare_config(yaml.safe_load(cluster)))


def run_by_shell(script: str, folder: Path, **variables: str) -> list[str]:
    """The words of the `dalda` command that a script comes to."""
    (folder / "dalda").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / "dalda").chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", **variables}
    shell = subprocess.run(
        ["bash", "-eu", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return shell.stdout.splitlines()


def test_the_slurm_script_takes_its_shard_from_the_array_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = blocks(ROOT / "docs/scale.md", "bash")
    words = run_by_shell(script, tmp_path)
    assert {word for word in words[1:] if word.startswith("-")} <= options_of(words)
    first, last = re.findall(r"--array=(\d+)-(\d+)", script)[0]
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", last)
    for task in (first, last):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        asked = AugmentConfig(dataset="d", out=Path("o"), shard=words[words.index("--shard") + 1])
        assert asked.shard == f"{task}/{last}"


def test_the_indexed_job_of_kubernetes_generates_every_shard_once(tmp_path: Path) -> None:
    (text,) = (block for block in blocks(ROOT / "docs/scale.md", "yaml") if "kind: Job" in block)
    job = yaml.safe_load(text)["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    found = []
    for index in range(job["completions"]):
        words = run_by_shell(container["args"][0], tmp_path, JOB_COMPLETION_INDEX=str(index))
        assert {word for word in words[1:] if word.startswith("-")} <= options_of(words)
        found.append(Shard.parse(words[words.index("--shard") + 1]))
    assert found == [Shard(number, job["completions"]) for number in range(1, job["completions"] + 1)]


@pytest.mark.usefixtures("doodle_cache")
def test_the_readme_runs_on_the_embedded_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = 0
    for words in commands(ROOT / "README.md"):
        if "doodles" in words:
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, (words, result.stderr)
            ran += 1
    assert ran >= 2


@pytest.mark.usefixtures("doodle_cache")
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_of_a_page_runs(tmp_path: Path, page: str) -> None:
    (body,) = blocks(ROOT / page, "python")
    done = subprocess.run([sys.executable, "-c", body], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".png ") == 12 or done.stdout.startswith("12 ")


def test_the_readme_says_what_a_preset_takes() -> None:
    """`python tools/answers_table.py` makes the table."""
    assert "\n".join(answers_table.table()) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_one_small_image_and_starts_with_the_quickstart() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'<img src="([^"]+)" width="(\d+)"', text)
    with Image.open(ROOT / shown[0]) as image:
        assert image.height * int(shown[1]) / image.width <= 600
    assert "![" not in text
    assert text.splitlines().index("```sh") <= 10


COUNTS = re.compile(
    r"\d+\.\d+ ?(?:GB|MB|times)\b"
    r"|\b\d+(?:\.\d+)? ?(?:(?:s|ms|min|h|points|images/s|seconds|minutes|hours)\b|%)"
)
COMMANDS = re.compile(r"`?(?:python (?:-m )?(?:benchmarks|tools|tests)/?|make |dalda |pytest |tests/)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_with_measured_numbers_names_a_command(page: Path) -> None:
    """Every section with a measured figure names what makes it: a command, a benchmark or a test."""
    text = page.read_text(encoding="utf-8")
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE):
        if COUNTS.search(section):
            assert COMMANDS.search(section), f"{page.name}: {section[:60]!r}"


def test_every_page_is_in_the_index() -> None:
    listed = set((ROOT / "docs/index.md").read_text(encoding="utf-8").splitlines())
    assert {page.stem for page in PAGES[1:] if page.stem != "index"} <= listed


def test_every_link_and_image_is_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_no_figure_was_forgotten() -> None:
    for page in PAGES:
        assert not re.findall(r"\b(?:DEMO|JUDGE|WEIGHTS)_[A-Z]+\b", page.read_text(encoding="utf-8")), page


def test_the_tests_that_the_pages_name_are_there() -> None:
    for page in PAGES:
        for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{page.name}: {test}"


def test_the_figure_of_the_architecture_is_current() -> None:
    """`make architecture` draws it."""
    done = subprocess.run(
        [sys.executable, "-c", "import data_flow; print(data_flow.drawing(), end='')"],
        cwd=ROOT / "tools",
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs/images/data-flow.svg").read_text(encoding="utf-8") == done.stdout
