"""The cache folder, also of a user without a home folder or a name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dalda.cache import cache_folder
from dalda.storage import private_folder


def test_the_chosen_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "own"))
    assert cache_folder("features") == tmp_path / "own/features"
    monkeypatch.delenv("DALDA_CACHE")
    assert cache_folder("features") == tmp_path / "xdg/dalda/features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/dalda"


@pytest.mark.parametrize("home", ["~", "/nowhere"])
def test_without_a_home_it_is_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.delenv("DALDA_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda _: home)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    private_folder.cache_clear()
    folder = cache_folder("doodles")
    assert folder == tmp_path / f"dalda-cache-{os.getuid()}/doodles"
    assert folder.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("planted", ["link", "open folder", "file"])
def test_a_folder_that_somebody_else_may_write_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    taken = tmp_path / f"dalda-cache-{os.getuid()}"
    (tmp_path / "theirs").mkdir()
    if planted == "link":
        taken.symlink_to(tmp_path / "theirs")
    elif planted == "file":
        taken.touch()
    else:
        taken.mkdir()
        taken.chmod(0o777)
    private_folder.cache_clear()
    folder = private_folder("dalda-cache")
    private_folder.cache_clear()
    assert folder != taken
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0


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
