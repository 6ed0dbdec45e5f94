"""SIGKILL in the middle of painting: the same command ends with the folder of an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORDS = ["augment", "doodles", "--shots", "1", "--per-image", "3", "--steps", "4", "--batch-size", "4"]
LIMIT = 240


def start(out: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from dalda.cli import main; main()", *WORDS, "-o", str(out)]
    environment = {**os.environ, "DALDA_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(out: Path, cache: Path) -> None:
    run = start(out, cache)
    _, said = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, said.decode()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_killed_runs_end_as_an_unbroken_one(tmp_path: Path) -> None:
    cache, whole, broken = tmp_path / "cache", tmp_path / "whole", tmp_path / "broken"
    finish(whole, cache)
    killed = 0
    for pictures in (1, 15, 27):
        run, deadline = start(broken, cache), time.monotonic() + LIMIT
        while len(list(broken.rglob("*.png"))) < pictures and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
    assert killed >= 2
    assert len(list(broken.rglob("*.png"))) < len(list(whole.rglob("*.png")))
    finish(broken, cache)
    assert contents(broken) == contents(whole)
