"""Large sets: making a plan, opening a finished folder, memory while painting, as one JSON object.

Each part runs in a process of its own, so that its peak of memory is its own. Peaks are of the whole
process, libraries included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dalda.records import Example, Plan, Split

PER_IMAGE = 10
CLASSES = 100
CAPTIONS = 10


class Clock:
    """Wall time, and this process's own: the two differ on a machine with other work."""

    def __init__(self) -> None:
        self.wall, self.process = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        wall, process = time.perf_counter() - self.wall, time.process_time() - self.process
        return {"seconds": round(wall, 2), "process_seconds": round(process, 2)}


def large_plan(jobs: int) -> Plan:
    """As from a data set of `jobs` / 10 examples of 100 classes, with adaptive guidance."""
    from dalda.guidance.policy import policy_named
    from dalda.prompts.book import assign_captions
    from dalda.synthesis.plan import Recipe, make_plan

    classes = tuple(f"class {number}" for number in range(CLASSES))
    examples = tuple(
        Example(Path(f"data/{number % CLASSES}/{number}.jpg"), classes[number % CLASSES], f"{number:064x}")
        for number in range(jobs // PER_IMAGE)
    )
    split = Split("folder", Path("data"), "train", 0, None, classes, examples)
    captions = {name: [f"a photo of a {name}, {n}" for n in range(CAPTIONS)] for name in classes}
    scores = [number % 1000 / 1000 for number in range(len(examples))]
    recipe = Recipe("dalda", "sd15", "best quality, ", "worst quality", 7.5, 30, PER_IMAGE, seed=0)
    return make_plan(
        split, captions, scores, policy_named("adaptive", "truncated"), assign_captions, recipe
    )


def measure_plan(jobs: int, folder: Path) -> dict[str, float]:
    """Seconds to make the plan with the ids of its jobs."""
    from dalda.guidance.policy import policy_named

    policy_named("adaptive", "truncated")
    clock = Clock()
    plan = large_plan(jobs)
    ids = {job.id for job in plan.jobs}
    spent = clock.spent()
    assert len(ids) == jobs
    return spent


def measure_opening(jobs: int, folder: Path) -> dict[str, float]:
    """Seconds from the folder's settings to the list of what is missing, 10 pictures having been lost."""
    from dalda.synthesis.engines import missing_jobs
    from dalda.synthesis.store import Store

    plan = large_plan(jobs)
    fill(folder, plan)
    for job in plan.jobs[:: jobs // 10]:
        next(folder.glob(f"train/*/{job.id}.png")).unlink()
    clock = Clock()
    missing = missing_jobs(plan, Store.open(folder, {"jobs": jobs}))
    spent = clock.spent()
    assert len(missing) == 10
    return spent


def fill(folder: Path, plan: Plan) -> None:
    """A finished folder; the pictures are of 16 x 16 pixels."""
    import os

    import numpy as np
    from PIL import Image

    from dalda.synthesis.pictures import FORMATS, encode
    from dalda.synthesis.store import Finished, Store

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    encoded = encode(picture, FORMATS["png"])
    store = Store.open(folder, {"jobs": len(plan.jobs)})
    # What is measured is reading; bringing each of the files to the disk would take longer than all else.
    os.fsync = lambda handle: None
    for start in range(0, len(plan.jobs), 1000):
        store.add([Finished(job, encoded, job.seed) for job in plan.jobs[start : start + 1000]])


def measure_painting(jobs: int, folder: Path) -> dict[str, float]:
    """Seconds to paint doodles in one step each, and how many."""
    from dalda.config import AugmentConfig
    from dalda.pipeline.synthetic import augment

    shots = {"dataset": "doodles", "shots": 7, "per_image": jobs // 84}
    report = augment(AugmentConfig(out=folder, **shots, steps=1, guidance="random"))
    return {"painted": report.painted, "seconds": report.seconds}


PARTS: dict[str, Callable[[int, Path], dict[str, float]]] = {
    "plan": measure_plan,
    "opening": measure_opening,
    "painting": measure_painting,
}


def in_its_own_process(part: str, jobs: int) -> dict[str, float]:
    """A part's figures with its peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            __file__,
            "--part",
            part,
            "--jobs",
            str(jobs),
            "--folder",
            folder + "/out",
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return {"jobs": jobs, **figures}


def run_part(part: str, jobs: int, folder: Path) -> dict[str, float]:
    figures = PARTS[part](jobs, folder)
    # Linux counts in kilobytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {**figures, "peak_megabytes": round(peak / 1e6, 1)}


def measure(jobs: int, painted: Sequence[int]) -> dict[str, object]:
    few, many = (in_its_own_process("painting", number) for number in painted)
    growth = many["peak_megabytes"] / few["peak_megabytes"] - 1
    return {
        "plan": in_its_own_process("plan", jobs),
        "opening": in_its_own_process("opening", jobs),
        "painting": [few, many],
        "painting_peak_growth_percent": round(100 * growth, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument(
        "--jobs", type=int, default=100_000, help="jobs of the plan and the finished folder"
    )
    parser.add_argument(
        "--painted", type=int, nargs=2, default=(1020, 4020), help="doodles, in multiples of 60"
    )
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(run_part(options.part, options.jobs, options.folder)))
    else:
        print(json.dumps(measure(options.jobs, options.painted), indent=2))


if __name__ == "__main__":
    main()
