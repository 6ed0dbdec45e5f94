"""SIGTERM, as from a scheduler that takes the machine back, ends a run cleanly."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT = 240


@pytest.mark.slow
@pytest.mark.usefixtures("doodle_cache")
def test_sigterm_ends_cleanly_within_seconds(tmp_path: Path) -> None:
    """Every image that was written has its record, and the last line says what to do."""
    out = tmp_path / "out"
    words = ["augment", "doodles", "--shots", "1", "--per-image", "99", "--batch-size", "4", "-o", str(out)]
    run = subprocess.Popen(
        [sys.executable, "-c", "import dalda.cli; dalda.cli.main()", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + LIMIT
    while len(list(out.glob("train/*/*.png"))) < 8:
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.terminate()
    started = time.monotonic()
    _, errors = run.communicate()
    assert time.monotonic() - started < 10
    assert run.returncode == 128 + signal.SIGTERM
    assert "run the same command again to resume" in errors.splitlines()[-1]
    records = (out / "train/metadata.jsonl").read_text().splitlines()
    assert len(records) == len(list(out.glob("train/*/*.png"))) >= 8
