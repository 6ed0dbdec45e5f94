"""The cache folder, also of a user without a home folder or a name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dalda.cache import cache_folder


def test_the_chosen_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "own"))
    assert cache_folder("features") == tmp_path / "own/features"
    monkeypatch.delenv("DALDA_CACHE")
    assert cache_folder("features") == tmp_path / "xdg/dalda/features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/dalda"


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_without_a_home_it_is_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    def no_home() -> Path:
        if home is None:
            raise RuntimeError("Could not determine home directory.")
        return Path(home)

    monkeypatch.delenv("DALDA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("dalda.cache.Path.home", no_home)
    monkeypatch.setattr("dalda.cache.tempfile.gettempdir", lambda: str(tmp_path))
    folder = cache_folder("doodles")
    assert folder.is_relative_to(tmp_path)
    assert folder.name == "doodles"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to become another user")
def test_a_user_without_home_or_name_has_a_cache() -> None:
    """A container's user: no HOME, no entry in passwd."""
    code = "from dalda.cache import cache_folder; print(cache_folder('x'))"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            arguments, env=environment, user=12345, capture_output=True, text=True, check=False
        )
    except PermissionError:
        pytest.skip("the other user may not read the interpreter")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("dalda-cache-12345/x")
