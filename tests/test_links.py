"""Links planted under names that a command writes: nothing outside is ever reached through one."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dalda.cli import app
from kills import prepared

COMMANDS = (
    *("augment", "templates", "import", "train", "run", "score", "export", "export to hf"),
    *("export to csv", "report", "config convert"),
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("inputs")
    return folder, prepared(folder, "http://127.0.0.1:9/v1", "http://127.0.0.1:9")


def outcome(words: list[str], out: Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [word.replace("OUT", str(out)) for word in words])
    return done.exit_code, done.stderr


def names_in(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_written_through_a_link(
    inputs: tuple[Path, dict[str, list[str]]],
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At each name of a finished folder, and in a new one at that of its unfinished file, in turn."""
    monkeypatch.setenv("DALDA_CACHE", str(inputs[0] / "cache"))
    words = inputs[1][command]
    whole, out, theirs = tmp_path / "whole", tmp_path / "out", tmp_path / "theirs"
    whole.mkdir()
    code, message = outcome(words, whole)
    assert code == 0, message
    tried = 0
    for name in names_in(whole):
        for planted in (name, name.with_name(f".{name.name}.partial")):
            for folder in (out, theirs):
                shutil.rmtree(folder, ignore_errors=True)
            theirs.mkdir()
            if planted == name:
                shutil.copytree(whole, out)
                shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
            (theirs / "file").write_text("precious")
            (theirs / "folder").mkdir()
            (out / planted).parent.mkdir(parents=True, exist_ok=True)
            target = "folder" if (whole / name).is_dir() else "file"
            (out / planted).symlink_to(theirs / target)
            code, message = outcome(words, out)
            assert code in (0, 2), f"{planted}: {message}"
            assert "Traceback" not in message
            assert names_in(theirs) == [Path("file"), Path("folder")], f"{planted} was followed"
            assert (theirs / "file").read_text() == "precious", f"{planted} was followed"
            tried += 1
    assert tried >= 2
