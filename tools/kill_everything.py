"""Random kills of every writing command: run again, it ends with the bytes of an unbroken run.

    python tools/kill_everything.py --kills 1000

One process imports the libraries, which takes longest; each run is a fork of it, killed with SIGKILL at a
random moment. Prints a line per command and exits with 1 where a folder differs.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FORKS = """
import os
import sys
import importlib
import pkgutil
import dalda.cli
for package in ("models", "evaluation", "generation", "reporting", "workflows"):
    path = importlib.import_module("dalda." + package).__path__
    for module in pkgutil.walk_packages(path, f"dalda.{package}."):
        importlib.import_module(module.name)
while line := sys.stdin.readline():
    child = os.fork()
    if child == 0:
        sys.argv = ["dalda", *line.split("\\t")[:-1]]
        sys.stdin = open(os.devnull)
        sys.exit(dalda.cli.main())
    print(child, flush=True)
    # Until it is waited for, its number belongs to nobody else.
    sys.stdin.readline()
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
STUDY = """dataset: doodles
shots: [1]
seeds: 2
augment: {per_image: 1, steps: 1, batch_size: 4}
train: {epochs: 1, iterations: 4, feature_views: 1, synthetic_probability: 0.5}
arms:
  - {name: real, method: real}
  - {name: uniform, ip_adapter_scale: uniform}
"""
TRAIN = ["train", "doodles", "--shots", "1", "--seeds", "2", "--epochs", "1", "--iterations", "4"]
AUGMENT = ["augment", "doodles", "--shots", "1", "--per-image", "2", "--steps", "1", "--batch-size", "4"]
COMMANDS: dict[str, tuple[str, ...]] = {
    "augment": (*AUGMENT, "-o", "OUT/set"),
    "train": (*TRAIN, "--feature-views", "1", "--synthetic", "READY/set", "-o", "OUT/run"),
    "run": ("run", "READY/study.yaml", "-o", "OUT/study"),
    "captions": ("captions", "doodles", "--model", "doodle", "-o", "OUT/captions.json"),
    "score": ("score", "doodles", "--shots", "1", "-o", "OUT/scores.csv"),
    "export folder": ("export", "READY/set", "--to", "folder", "-o", "OUT/export"),
    "export webdataset": ("export", "READY/set", "--to", "webdataset", "-o", "OUT/export"),
    "plot": ("plot", "READY/run", "-o", "OUT/figure.png"),
    "report": ("report", "READY/run", "-o", "OUT/report.html"),
}
"""Words of each command; OUT is its own folder, READY what was made before, uninterrupted."""
TIMES = re.compile(rb"\b(seconds|[0-9.]+ (s|min))\b[^\n]*")
"""How long something took, which no two runs share."""


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

    def start(self, words: Sequence[str]) -> int:
        """The process id of a run."""
        return self._ask("\t".join([*words, "--json", ""]))

    def exit_code(self) -> int:
        """Of the last run, once it has ended."""
        return self._ask("")

    def finish(self, words: Sequence[str]) -> int:
        """The exit code of a run to its end."""
        self.start(words)
        return self.exit_code()

    def close(self) -> None:
        self.parent.kill()
        self.parent.wait()

    def _ask(self, line: str) -> int:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(line + "\n")
        self.parent.stdin.flush()
        return int(next(line for line in self.parent.stdout if re.fullmatch(r"-?\d+\n", line)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, without how long things took and without the folder's own path."""
    own = str(folder).encode()
    return {
        str(path.relative_to(folder)): TIMES.sub(b"", path.read_bytes().replace(own, b"OUT"))
        if path.suffix in {".yaml", ".html", ".json"}
        else path.read_bytes().replace(own, b"OUT")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class Trial:
    """One command, killed again and again."""

    words: tuple[str, ...]
    runs: Runs
    folder: Path
    ready: Path
    seconds: float = 0.0
    """How long an unbroken run takes."""
    kills: int = 0
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)
    expected: dict[str, bytes] = field(default_factory=dict)

    def unbroken(self) -> None:
        started = time.monotonic()
        self._finish(self._out("unbroken"))
        self.seconds = time.monotonic() - started
        self.expected = contents(self._out("unbroken"))
        if not self.expected:
            self.wrong.append("it wrote nothing")

    def kill(self, rng: random.Random) -> None:
        """Kills one run; one that ends before is compared, and the next one has a new folder."""
        out = self._out(f"broken{self.rounds}")
        run = self.runs.start(self._words(out))
        time.sleep(rng.uniform(0, self.seconds))
        os.kill(run, signal.SIGKILL)
        code = self.runs.exit_code()
        self.kills += code == -signal.SIGKILL
        if code != -signal.SIGKILL:
            self.compare()

    def compare(self) -> None:
        """Finishes the broken folder and compares it with the unbroken one."""
        out = self._out(f"broken{self.rounds}")
        self.rounds += 1
        # A command that never writes over a finished file says that it is there.
        self._finish(out, codes=(0, 2) if contents(out) == self.expected else (0,))
        found = contents(out)
        for name in sorted({*found, *self.expected}):
            if found.get(name) != self.expected.get(name):
                self.wrong.append(f"{name} differs after kills in {out}")

    def _finish(self, out: Path, codes: tuple[int, ...] = (0,)) -> None:
        code = self.runs.finish(self._words(out))
        if code not in codes:
            self.wrong.append(f"exit code {code} in {out}")

    def _out(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _words(self, out: Path) -> list[str]:
        words = [word.replace("OUT", str(out), 1) for word in self.words]
        return [word.replace("READY", str(self.ready), 1) for word in words]


def kill_everything(
    folder: Path, kills: int, seed: int = 0, only: Sequence[str] = (), say: Callable[[str], None] = print
) -> list[Trial]:
    """Kills the commands in turn, `kills` times in all; every folder is compared at the end."""
    runs, ready, rng = Runs(folder / "cache"), folder / "ready", random.Random(seed)
    ready.mkdir(parents=True)
    (ready / "study.yaml").write_text(STUDY)
    try:
        for name in ("augment", "train"):
            words = [
                word.replace("OUT", str(ready)).replace("READY", str(ready)) for word in COMMANDS[name]
            ]
            if runs.finish(words) != 0:
                raise SystemExit(f"dalda {' '.join(words)} failed")
        trials = {
            name: Trial(COMMANDS[name], runs, folder / name.replace(" ", "-"), ready)
            for name in only or COMMANDS
        }
        for trial in trials.values():
            trial.unbroken()
        names = list(trials)
        for number in range(4 * kills):
            if sum(trial.kills for trial in trials.values()) >= kills:
                break
            trials[names[number % len(names)]].kill(rng)
        for name, trial in trials.items():
            trial.compare()
            verdict = "; ".join(trial.wrong[:3]) or "the same bytes"
            say(f"{name}: {trial.kills} kills in {trial.rounds} folders, {verdict}")
    finally:
        runs.close()
    return list(trials.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=list(COMMANDS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = kill_everything(Path(folder), given.kills, given.seed, given.only)
    print(f"{sum(trial.kills for trial in trials)} kills")
    sys.exit(any(trial.wrong for trial in trials))


if __name__ == "__main__":
    main()
