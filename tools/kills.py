"""Kills every command that writes, at random moments: `make kills KILLS=1000`.

After some kills the same command runs to its end, and must leave the files of an unbroken run, byte for
byte. Prints a line per command and a summary, and fails where anything differs. With `--counts FILE` a
call that was stopped is continued by the next one. `tests/test_killed.py` runs a share.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.captions.chat_server import running_server
from tests.compat.tiny_pets import write_reference_config
from tests.datasets.archives import pets_files, serving

from drawn_set import drawn_set

LIMIT = 300
"""Seconds after which a run is taken to hang, and is ended."""
MOST_KILLS = 8
"""Kills of one folder, before it is finished and compared."""
DECISIONS = 40
CLASSES = ("car", "fish", "tree")
MODULES = (
    *("dalda.cli", "dalda.workflows.augment", "dalda.workflows.evaluate", "dalda.workflows.experiment"),
    *("dalda.workflows.export", "dalda.workflows.plot", "dalda.workflows.report", "dalda.workflows.runner"),
    *("dalda.evaluation.generative_metrics", "dalda.generation.backends.stable_diffusion", "openai"),
    *("dalda.generation.executors.local", "dalda.captions.openai_api", "dalda.compat.import_folder"),
    *("dalda.evaluation.backbones.clip", "dalda.models.clip", "transformers", "matplotlib.figure"),
    *("dalda.methods.fitting.trainer", "kornia.augmentation", "diffusers.guiders", "diffusers.schedulers"),
    *("dalda.workflows.classifier", "dalda.workflows.compare", "dalda.workflows.merge", "pooch"),
    *(
        "dalda.generation.backends.flux",
        "dalda.generation.backends.flux2_klein",
        "diffusers.pipelines.sana",
    ),
    *("dalda.generation.backends.stable_diffusion_3", "dalda.generation.backends.image_to_image"),
)
"""Imported before the forks, since that takes longest."""
STUDY = """dataset: {photos}
shots: [1]
seeds: 1
augment: {{per_image: 2, steps: 1, batch_size: 2}}
train: {{backbone: doodle, epochs: 1, iterations: 2, feature_views: 2}}
arms:
  - {{name: real, method: real}}
  - {{name: adaptive}}
"""
TIMES = re.compile(rb'("time": "[^"]*"|\bseconds: [\d.]+|"\w*seconds": [\d.e+-]+)')
"""What differs between any two runs."""


def serve() -> None:
    """Runs each line of stdin as a new process; the parent computes nothing, so that no thread of it is
    missing in the forks."""
    import importlib

    for name in MODULES:
        importlib.import_module(name)
    print("ready", flush=True)
    while line := sys.stdin.readline():
        words = json.loads(line)
        child = os.fork()
        if child == 0:
            run(words["words"], Path(words["out"]), words["cache"])
        print(child, flush=True)
        sys.stdin.readline()  # until it is waited for, its number belongs to nobody else
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(words: list[str], out: Path, cache: str) -> None:
    """A command of dalda, or the decisions of a review; what it prints lies in `out`."""
    os.environ["DALDA_CACHE"] = cache
    out.mkdir(parents=True, exist_ok=True)
    printed = os.open(f"{out}.stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    from dalda.methods.fitting import trainer

    # So that a training of seconds has states to resume from.
    trainer.CHECKPOINT_SECONDS = 0.1
    errors = os.open(f"{out}.stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    if words[0] == "decide":
        decide(out)
    if words[0] == "download":
        from dalda.datasets.download import download

        download("pets", out, words[1], checked=False)  # as the command, but for the checksums
        os._exit(0)
    from dalda.cli import main

    sys.argv = ["dalda", *words]
    main()


def decide(out: Path) -> None:
    """Adds the decisions that the log lacks, as the page of a review does."""
    from dalda.review.log import ReviewLog

    log = ReviewLog(out)
    for number in range(len(log.decisions()), DECISIONS):
        log.append(f"{number:08}", "keep" if number % 3 else "reject", "me")
        log.decisions()
    os._exit(0)


class Runs:
    """Starts dalda again and again, each time as a new process."""

    def __init__(self) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
                "OPENAI_API_KEY": "none",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.parent.stdout is not None
        assert self.parent.stdout.readline() == "ready\n", "the libraries cannot be imported"

    def start(self, words: list[str], out: Path, cache: Path) -> int:
        """The process id of a run."""
        return self._ask(json.dumps({"words": words, "out": str(out), "cache": str(cache)}))

    def exit_code(self) -> int:
        """Of the last run, once it has ended."""
        return self._ask("")

    def _ask(self, line: str) -> int:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(line + "\n")
        self.parent.stdin.flush()
        return int(self.parent.stdout.readline())

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()


@dataclass
class Killing:
    """One command: `words` with OUT for the folder that it writes to, or into."""

    runs: Runs
    folder: Path
    name: str
    words: list[str]
    rng: random.Random
    seconds: float = LIMIT
    wanted: Mapping[str, bytes] = field(default_factory=dict)
    kills: int = 0
    folders: int = 0

    def unbroken(self) -> None:
        """What the command leaves if nobody stops it, and how long it takes."""
        out = self.folder / self.name / "whole"
        self.finish(out)
        self.wanted = contents(out)

    def kill(self, kills: int, compared: Callable[[], None] = lambda: None) -> None:
        """Kills runs into new folders until there were so many, and compares each folder at the end."""
        if not self.wanted and self.kills < kills:
            self.unbroken()
        while self.kills < kills:
            out = self.folder / self.name / f"broken{self.folders}"
            for _ in range(min(self.rng.randint(1, MOST_KILLS), kills - self.kills)):
                self.kills += self.kill_once(out)
            if contents(out) != self.wanted:  # the last kill may have come after the last write
                self.finish(out)
            found = contents(out)
            differing = sorted(
                name
                for name in found.keys() | self.wanted.keys()
                if found.get(name) != self.wanted.get(name)
            )
            if differing:
                raise AssertionError(f"{self.name}: after kills, {differing} in {out} differ")
            shutil.rmtree(out)
            shutil.rmtree(cache_of(out), ignore_errors=True)
            self.folders += 1
            compared()

    def kill_once(self, out: Path) -> bool:
        """Kills a run after some time, or just after one of its writes; whether it was still alive."""
        process = self.start(out)
        until = time.monotonic() + self.rng.uniform(0, self.seconds)
        if self.rng.random() < 0.5:
            before, writes = stamp(out), self.rng.randint(1, 6)
            while time.monotonic() < until and writes:
                time.sleep(0.001)
                now = stamp(out)
                writes -= now != before
                before = now
        else:
            time.sleep(max(0.0, until - time.monotonic()))
        os.kill(process, signal.SIGKILL)
        killed = self.runs.exit_code() == -signal.SIGKILL
        # Whatever else the machine does: most kills come within a run, and some near its end.
        self.seconds *= 1.15 if killed else 0.7
        return killed

    def finish(self, out: Path) -> None:
        started = time.monotonic()
        hung = threading.Timer(LIMIT, os.kill, (self.start(out), signal.SIGKILL))
        hung.start()
        code = self.runs.exit_code()
        hung.cancel()
        # The quickest run: a kill that comes later than the end is none.
        self.seconds = min(self.seconds, time.monotonic() - started)
        if code != 0:
            error = out.with_name(f"{out.name}.stderr").read_text(errors="replace").strip()[-500:]
            raise AssertionError(f"{self.name}: the last run in {out} ended with {code}: {error}")

    def start(self, out: Path) -> int:
        words = [word.replace("OUT", str(out)) for word in self.words]
        return self.runs.start(words, out, cache_of(out))


def cache_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.cache")


def stamp(out: Path) -> list[tuple[str, int]]:
    """The names below a folder and the sizes of its files, those of its cache too."""
    found = []
    for folder in (out, cache_of(out)):
        for place, _, names in os.walk(folder):
            found += [(f"{place}/{name}", size_of(Path(place, name))) for name in names]
    return found


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def contents(out: Path) -> dict[str, bytes]:
    """The files of a folder and what its command printed, without times and paths."""
    files = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
    place = str(out).encode()
    found = {name: TIMES.sub(b"", path.read_bytes().replace(place, b"OUT")) for name, path in files.items()}
    printed = out.with_name(f"{out.name}.stdout")
    # Other commands say how much there was left to do.
    shown = printed.read_bytes().replace(place, b"OUT") if printed.exists() else b""
    return found or {"stdout": TIMES.sub(b"", shown)}


def prepared(folder: Path, url: str, archives: str) -> dict[str, list[str]]:
    """Makes what the commands read; the commands by name. `url` answers, `archives` are downloaded."""
    drawn_set(folder / "few", CLASSES, sources=2, copies=3)
    drawn_set(folder / "more", CLASSES, sources=6, copies=1)
    few, photos = folder / "few/out", folder / "photos"
    shutil.copytree(folder / "few/real", photos / "train")
    for label in CLASSES:
        (photos / "val" / label).mkdir(parents=True)
        for number in range(2, 6):
            name = f"{label}/{number:05}.png"
            shutil.copy(folder / "more/real" / name, photos / "val" / name)
    (folder / "study.yaml").write_text(STUDY.format(photos=photos))
    (folder / "names").write_text("\n".join(f"thing number {number}" for number in range(24)))
    halves = [half_of(few, folder / f"half{number}", number) for number in range(2)]
    original = original_folder(folder / "original", folder / "few")
    config = write_reference_config(folder, "cfg_real")
    model = [*("--llm", "openai:tiny", "--base-url", url), *("--concurrency", "2", "--model", "doodle")]
    short = [*("--backbone", "doodle", "--feature-views", "2"), *("--epochs", "2", "--iterations", "5")]
    drawing = ["--steps", "1", "--per-image", "3", "--batch-size", "3"]
    learning = ["augment", str(photos), "--shots", "1", "--steps", "1", "--per-image", "1", "-o", "OUT"]
    steps = [*("--method-option", "scope=dataset"), *("--method-option", "fit_steps=16")]
    run = str(folder / "run")
    return {
        "review": ["decide"],
        "download": ["download", archives],
        "config convert": ["config", "convert", str(config), "-o", "OUT/study.yaml"],
        "export": ["export", str(few), "-o", "OUT/set"],
        "export to hf": ["export", str(few), "--to", "hf", "--with-real", "-o", "OUT/set"],
        "export to parquet": ["export", str(few), "--to", "parquet", "-o", "OUT/set"],
        "export to webdataset": ["export", str(few), "--to", "webdataset", "-o", "OUT/set"],
        "export to onnx": ["export", run, "--to", "onnx", "-o", "OUT/classifier.onnx"],
        "merge": ["merge", *map(str, halves), "-o", "OUT/set"],
        "predict": ["predict", run, f"{photos}/val", "-o", "OUT/predictions.csv"],
        "export to csv": ["export", str(few), "--to", "csv", "-o", "OUT/set.csv"],
        "templates": ["captions", str(photos), "--model", "doodle", "-o", "OUT/captions.json"],
        "score": ["score", str(photos), "--model", "doodle", "-o", "OUT/scores.csv"],
        "import": ["import", str(original), str(photos), "-o", "OUT"],
        "report": ["report", str(few), "-o", "OUT/report.html"],
        "plot": ["plot", run, "-o", "OUT/figure.png"],
        "captions": ["captions", "--classes", f"{folder}/names", *model, "-o", "OUT/captions.json"],
        "evaluate": ["evaluate", str(few), "--against", str(photos), "--backbone", "doodle", "--json"],
        "train": [
            *("train", str(photos), "--synthetic", str(few), *short, "--seeds", "3"),
            *("--filter-by-classifier", "-o", "OUT"),
        ],
        "augment": ["augment", str(photos), *drawing, "-o", "OUT"],
        "learn tokens": [*learning, "--method", "da-fusion", "--method-option", "fit_steps=6"],
        "learn a LoRA": [*learning, "--method", "datadream", *steps],
        "augment a shard": ["augment", str(photos), *drawing, "--shard", "1/2", "-o", "OUT"],
        "calibrate": ["calibrate", str(photos), "--images", "1", "--model-option", "steps=1", "--json"],
        "run": ["run", f"{folder}/study.yaml", "-o", "OUT"],
        "compare": [
            *("compare", str(photos), "--methods", "text,dalda-fixed", "--shots", "1", "--seeds", "1"),
            *("--per-image", "2", "--steps", "1", "--backbone", "doodle", "--epochs", "1"),
            *("-o", "OUT"),
        ],
    }


def half_of(few: Path, folder: Path, number: int) -> Path:
    """A set with every second image of another one."""
    shutil.copytree(few, folder)
    metadata = folder / "train/metadata.jsonl"
    lines = metadata.read_text().splitlines(keepends=True)
    metadata.write_text("".join(lines[number::2]))
    for line in lines[1 - number :: 2]:
        (metadata.parent / json.loads(line)["file_name"]).unlink()
    return folder


def original_folder(folder: Path, few: Path) -> Path:
    """Images as the original code leaves them: two of each source."""
    folder.mkdir()
    rows = [["source_image_path", "aug_image_path", "used_prompt", "scale"]]
    for index, source in enumerate(sorted((few / "real").rglob("*.png"))):
        images = sorted((few / "out/train" / source.parent.name).glob("*.png"))
        for repeat in range(2):
            shutil.copy(images[2 * (index % 2) + repeat], folder / f"aug-{index}-{repeat}.png")
            rows.append([str(source), f"x/aug-{index}-{repeat}.png", f"a {source.parent.name}", "0.5"])
    with (folder / "source_image_prompt.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@contextmanager
def killings(folder: Path, seed: int, only: str = "") -> Iterator[list[Killing]]:
    """Every command, or one, ready to be killed; `folder` holds all that is read and written."""
    runs = Runs()
    try:
        with running_server() as server, serving() as mirror:
            server.configure(latency=0.02, spoil=4)
            mirror.files = pets_files()
            commands = prepared(folder, server.url, mirror.address)
            chosen = {name: words for name, words in commands.items() if only in ("", name)}
            if any(f"{folder}/run" in words for words in chosen.values()):
                words = [*commands["train"], "--seeds", "1"]
                Killing(runs, folder, "finished", words, random.Random()).finish(folder / "run")
            yield [
                Killing(runs, folder, name, words, random.Random(f"{seed} {name}"))
                for name, words in chosen.items()
            ]
    finally:
        runs.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", default="", help="one command, such as 'export to hf'")
    parser.add_argument("--counts", type=Path, help="a file that counts kills from call to call")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    earlier = json.loads(options.counts.read_text()) if options.counts and options.counts.exists() else {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed, folder = set[str](), Path(tempfile.mkdtemp())
    with killings(folder, options.seed + sum(earlier.values()), options.only) as commands:

        def count() -> None:
            if options.counts:
                options.counts.write_text(json.dumps(earlier | {x.name: x.kills for x in commands}))

        for command in commands:
            command.kills = earlier.get(command.name, 0)
        try:
            for number, command in enumerate(commands):
                try:
                    command.kill((options.kills + number) // len(commands), count)
                    print(
                        f"{command.name}: {command.kills} kills, {command.folders} folders, the same files"
                    )
                except AssertionError as error:
                    failed.add(command.name)
                    print(f"FAILED {error}")
                sys.stdout.flush()
        finally:
            each = ", ".join(f"{command.name} {command.kills}" for command in commands)
            kills = sum(command.kills for command in commands)
            print(f"{kills} kills ({each}); {len(failed)} commands differ")
    if not failed:
        shutil.rmtree(folder)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
