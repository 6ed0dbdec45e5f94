"""The command line as a whole: help, version, suggestions, next steps, and how every error ends."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import dalda
from dalda.cli.app import app, step
from dalda.cli.commands import COMMANDS, GROUPS
from dalda.config import AugmentConfig, TrainConfig
from dalda.errors import UserError


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("dalda.cli.actions.run_doctor", fail)


def test_help_lists_every_command_in_its_group_uncut() -> None:
    shown = " ".join(run("--help").stdout.split())
    for name, spec in COMMANDS.items():
        assert f"{name} {spec.help}" in shown
    assert [shown.index(f"{group}:") for group in GROUPS] == sorted(
        shown.index(f"{group}:") for group in GROUPS
    )
    assert run().stdout == run("-h").stdout == run("--help").stdout
    assert run("config").stdout == run("config", "-h").stdout


def test_help_is_quick() -> None:
    """0.2 s at most on a machine with nothing else to do; the processor's time does not count others'."""
    code = "import os; from dalda.cli import main\ntry: main()\nfinally: print(sum(os.times()[:2]))"
    best = 9.0
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
        )
        best = min(best, float(done.stdout.split()[-1]))
    assert best <= 0.2


def test_the_version() -> None:
    assert run("--version").stdout.strip() == f"dalda {dalda.__version__}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["agument"], "dalda: there is no command 'agument'; did you mean 'augment'?"),
        (["frobnicate"], "dalda: there is no command 'frobnicate'; dalda --help lists all"),
        (["config", "covnert"], "did you mean 'convert'?"),
        (["augment", "x", "--per-imag", "3"], "has no option --per-imag; did you mean '--per-image'?"),
        (["--jsno", "doctor"], "dalda has no option --jsno"),
        (["augment", "x", "--steps"], "--steps' requires an argument"),
        (["doctor", "surplus"], "unexpected extra argument (surplus)"),
    ],
)
def test_a_mistyped_word_is_one_sentence_with_a_suggestion(words: list[str], sentence: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("the set is empty"), 2, "dalda: the set is empty"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.png"),
            2,
            "No space left on device: 'a.png'; free",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "b"), 2, "Permission denied: 'b'; change its"),
        (OSError(errno.EXDEV, "Cross-device link", "a", None, "b"), 2, "Cross-device link: 'a' and 'b'"),
        (MemoryError(), 2, "dalda: out of memory: free some"),
        (RuntimeError("Symlink loop from '/a'"), 2, "dalda: a link leads back to itself: '/a'"),
        (KeyboardInterrupt(), 130, "dalda: stopped; finished work is kept"),
        (KeyboardInterrupt("stopped; nothing is kept"), 130, "dalda: stopped; nothing is kept"),
        (UserError("the server answers \x1b[2J\nand more"), 2, r"answers \x1b[2J\nand more"),
    ],
)
def test_what_is_no_bug_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, sentence: str
) -> None:
    raising(monkeypatch, error)
    result = run("doctor")
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    debugged = run("doctor", "--debug")
    assert "Traceback" in debugged.stderr
    assert debugged.stderr.splitlines()[-1] == result.stderr.splitlines()[0]


@pytest.mark.parametrize("error", [ZeroDivisionError("1/0"), OSError("no errno"), KeyError("steps")])
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    raising(monkeypatch, error)
    result = run("doctor")
    assert result.exit_code == 1
    assert result.exception is error


def test_a_reader_that_goes_away_ends_in_silence() -> None:
    code = "from dalda.cli import main; main()"
    command = f"{sys.executable} -c '{code}' split doodles --shots 4 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("class")
    assert "Error" not in done.stderr


def test_the_next_step_follows_on_stderr_unless_json_or_quiet() -> None:
    words = ("split", "doodles", "--shots", 1)
    shown = run(*words)
    assert shown.stderr.splitlines()[-1] == "next: dalda score doodles"
    assert "next" not in shown.stdout
    assert "next" not in run(*words, "--json").stderr + run(*words, "--quiet").stderr


def test_a_next_step_quotes_names_and_is_left_out_where_unknown() -> None:
    config = AugmentConfig(dataset="my photos", out=Path("a;b"))
    assert step(COMMANDS["augment"], config) == "dalda train 'my photos' --synthetic 'a;b'"
    assert step(COMMANDS["train"], TrainConfig(dataset="x")) == ""
    assert all(spec.next_step for spec in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_shared_options(name: str) -> None:
    shown = run(*name.split(), "-h").stdout
    for option in ("--json", "--quiet", "--debug", "-h, --help"):
        assert option in shown


def test_without_a_home_the_command_line_works(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")
    }
    code = "from dalda.cli import main; main()"
    for words in (["doctor", "--json"], ["split", "doodles", "--shots", "1", "--json"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**environment, "DALDA_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)


def test_importing_the_command_line_takes_no_time() -> None:
    started = time.process_time()
    subprocess.run([sys.executable, "-c", "import dalda.cli"], check=True)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["split", "doodels"], "doodles"),
        (["download", "flowers101", "--root", "x"], "flowers102"),
        (["augment", "doodles", "-o", "x", "--model", "sd-15"], "sd15"),
        (["run", "study.yaml"], "seeds"),
        (["run", "arm.yaml"], "epochs"),
    ],
)
def test_a_mistyped_name_is_suggested(
    words: list[str], near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = "dataset: doodles\nshots: 1\narms: [{name: real, method: real}]\n"
    (tmp_path / "study.yaml").write_text(study + "sedes: 3\n")
    (tmp_path / "arm.yaml").write_text(study + "train: {epohcs: 3}\n")
    result = run(*words)
    assert result.exit_code == 2, result.stdout
    assert f"did you mean '{near}'?" in result.stderr
