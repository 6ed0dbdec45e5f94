"""SIGKILL at any moment of generating: the same command ends with the folder of an unbroken run."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

WORDS = ["augment", "doodles", "--shots", "1", "--per-image", "16", "--steps", "1", "--batch-size", "4"]
KILLS = 20
LIMIT = 240
# One process imports the libraries, which takes longest; each run is a fork of it, with a process id of its
# own to be killed. The parent computes nothing, so that no thread of it is missing in the forks.
FORKS = """
import os
import sys
import dalda.cli
import dalda.workflows.augment
import dalda.generation.backends.stable_diffusion
import dalda.generation.executors.local
import dalda.models.clip
while line := sys.stdin.readline():
    child = os.fork()
    if child == 0:
        sys.argv = ["dalda", *line.split("\\t")[:-1]]
        dalda.cli.main()
    print(child, flush=True)
    # Until it is waited for, its number belongs to nobody else.
    sys.stdin.readline()
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Runs:
    """Starts dalda again and again, each time as a new process."""

    def __init__(self, cache: Path) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            env={**os.environ, "DALDA_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, out: Path) -> int:
        """The process id of a run into `out`."""
        return self.ask("\t".join([*WORDS, "--json", "-o", str(out), ""]))

    def exit_code(self) -> int:
        """Of the last run, once it has ended."""
        return self.ask("")

    def ask(self, line: str) -> int:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(line + "\n")
        self.parent.stdin.flush()
        return int(next(line for line in self.parent.stdout if not line.startswith("{")))


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    made = Runs(tmp_path / "cache")
    yield made
    made.parent.kill()
    made.parent.wait()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def images(folder: Path) -> int:
    return len(list(folder.glob("train/*/*.png")))


@pytest.mark.slow
def test_twenty_kills_leave_the_folder_of_an_unbroken_run(runs: Runs, tmp_path: Path) -> None:
    """Most kills come while images are generated and written, some before the first and after the last.

    A single step leaves some images of one colour, which are rendered again or dropped.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    runs.start(whole)
    assert runs.exit_code() == 0
    total = images(whole)
    assert total > 100
    rng = random.Random(5)
    killed, stages = 0, set()
    for number in range(KILLS):
        before, deadline = images(broken), time.monotonic() + LIMIT
        run = runs.start(broken)
        if number % 4:
            while images(broken) < min(before + rng.randrange(1, 6), total):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
        else:
            time.sleep(rng.uniform(0, 2))
        os.kill(run, signal.SIGKILL)
        killed += runs.exit_code() == -signal.SIGKILL
        stages.add(images(broken))
    assert killed >= KILLS - 5, "the runs are too short to be killed so often"
    assert len(stages) > KILLS / 3, "the kills were at too few places of the work"
    runs.start(broken)
    assert runs.exit_code() == 0
    assert contents(broken) == contents(whole)
