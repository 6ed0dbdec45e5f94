"""One process at a time in a folder, by a lock that ends with the process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dalda import UserError
from dalda.storage import list_folder, lock

HOLD = """
import sys, time
from pathlib import Path
from dalda.storage import lock
with lock(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holding(folder: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    run = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "held\n"
    run.stdout.close()
    return run


def test_a_folder_is_locked_and_freed_by_a_kill(tmp_path: Path) -> None:
    run = holding(tmp_path, 60)
    with pytest.raises(UserError, match="is at work here"), lock(tmp_path, "another is at work here"):
        pass
    run.kill()
    run.wait()
    with lock(tmp_path, "busy"):
        assert list_folder(tmp_path) == []


def test_it_waits_where_asked_to(tmp_path: Path) -> None:
    run = holding(tmp_path, 0.3)
    started = time.monotonic()
    with lock(tmp_path, "busy", seconds=60):
        assert time.monotonic() - started < 30
    run.wait()


def test_where_folders_have_no_locks_a_temporary_file_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with lock(tmp_path, "busy"):
        assert list_folder(tmp_path) == []
        with pytest.raises(UserError, match="busy"), lock(tmp_path, "busy"):
            pass
    with lock(tmp_path, "busy"):
        pass


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"), lock(tmp_path / "no", "busy"):
        pass
