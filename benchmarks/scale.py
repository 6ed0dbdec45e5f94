"""Large sets: making a plan, opening a finished folder, memory while generating, as one JSON object.

Each part runs in a process of its own, so that its peak of memory is its own. Peaks are of the whole
process, libraries included; for generating also what is there before it, model and plan included, and so
what generating adds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dalda.types import FewShotSplit, GenerationPlan, RealImage

PER_IMAGE = 10
LOST = 10
"""Images that are missing from the finished folder."""
CLASSES = 100
CAPTIONS = 10


class Clock:
    """Wall time, and this process's own: the two differ on a machine with other work."""

    def __init__(self) -> None:
        self.wall, self.process = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        wall, process = time.perf_counter() - self.wall, time.process_time() - self.process
        return {"seconds": round(wall, 2), "process_seconds": round(process, 2)}


def large_plan(requests: int) -> GenerationPlan:
    """As from a data set of a tenth as many examples of 100 classes, with adaptive guidance."""
    from dalda.generation.plan import make_plan
    from dalda.methods.base import Common, Prepared
    from dalda.methods.dalda import Dalda, DaldaOptions

    classes = tuple(f"class {number}" for number in range(CLASSES))
    examples = tuple(
        RealImage(
            Path(f"data/{number % CLASSES}/{number}.jpg"), classes[number % CLASSES], f"{number:064x}"
        )
        for number in range(-(-requests // PER_IMAGE))
    )
    split = FewShotSplit("folder", Path("data"), "train", 0, None, classes, examples)
    captions = {name: [f"a photo of a {name}, {n}" for n in range(CAPTIONS)] for name in classes}
    scores = [number % 1000 / 1000 for number in range(len(examples))]
    common = Common("dalda", "sd15", PER_IMAGE, "best quality, ", "worst quality", 7.5, 30)
    prepared = Prepared(common, DaldaOptions(), scores)
    plan = make_plan(Dalda().requests(split, captions, prepared, seed=0), "sd15")
    return GenerationPlan(plan.requests[:requests])


def measure_plan(requests: int, folder: Path) -> dict[str, float]:
    """Seconds to make the plan with the ids of its requests."""
    from dalda.methods.scale_policy import policy_named

    policy_named("adaptive", "truncated")
    clock = Clock()
    plan = large_plan(requests)
    ids = {request.id for request in plan.requests}
    spent = clock.spent()
    assert len(ids) == requests
    return spent


def measure_opening(requests: int, folder: Path) -> dict[str, float]:
    """Seconds from the folder's settings to the list of what is missing, some images having been lost."""
    from dalda.generation.synthetic_dataset import SyntheticDataset

    made = large_plan(requests)
    fill(folder, made)
    for request in made.requests[: LOST * (requests // LOST) : requests // LOST]:
        next(folder.glob(f"train/*/{request.id}.png")).unlink()
    # A second plan: the requests of the first one cache their ids.
    plan = large_plan(requests)
    clock = Clock()
    missing = SyntheticDataset.open(folder, {"format": "png"}).missing(plan.requests)
    spent = clock.spent()
    assert len(missing) == LOST
    return spent


def fill(folder: Path, plan: GenerationPlan) -> None:
    """A finished folder; the images are of 16 x 16 pixels."""
    import os

    import numpy as np
    from PIL import Image

    from dalda.generation.image_encoding import FORMATS, encode
    from dalda.generation.records import Finished
    from dalda.generation.synthetic_dataset import SyntheticDataset

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    encoded = encode(image, FORMATS["png"])
    store = SyntheticDataset.open(folder, {"format": "png"})
    # What is measured is reading; bringing each of the files to the disk would take longer than all else.
    os.fsync = lambda handle: None
    for start in range(0, len(plan.requests), 1000):
        store.add(
            [Finished(request, encoded, request.seed) for request in plan.requests[start : start + 1000]]
        )


def measure_generating(requests: int, folder: Path) -> dict[str, float]:
    """Seconds to generate doodles in one step each, how many, and the memory in use before that."""
    from dalda.config import AugmentConfig
    from dalda.workflows.augment import generate_plan, open_dataset
    from dalda.workflows.augment_plan import plan_augment
    from dalda.workflows.real_images import split_of

    config = AugmentConfig(
        dataset="doodles", out=folder, shots=7, steps=1, ip_adapter_scale="uniform", device="cpu"
    )
    examples = len(split_of(config).images)
    decided = plan_augment(config.model_copy(update={"per_image": -(-requests // examples)}))
    decided = replace(decided, plan=GenerationPlan(decided.plan.requests[:requests]))
    decided.loader.load()
    store = open_dataset(config, decided)
    before = begin_peak()
    report = generate_plan(config, decided, store)
    return {
        "generated": report.generated,
        "dropped": report.dropped,
        "seconds": report.seconds,
        "megabytes_before": round(before, 1),
    }


def begin_peak() -> float:
    """Megabytes in use now; the peak is counted again from here. Not on Linux, the peak so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize() / 1e6


def peak() -> float:
    """Megabytes at most, since the process began or `begin_peak` was called."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure_shards(requests: int, folder: Path) -> dict[str, float]:
    """Seconds to divide a plan into 1,000 shards, each by itself as its machine does: for one of them."""
    from dalda.generation.sharding import Shard

    plan = large_plan(requests)
    ids = {request.id for request in plan.requests}
    clock = Clock()
    shard = Shard(1, 1000).requests(plan.requests)
    spent = clock.spent()
    assert {request.id for request in shard} <= ids
    return {**spent, "in_the_shard": len(shard)}


def measure_merge(requests: int, folder: Path) -> dict[str, float]:
    """Seconds to join four shards, in a folder each, into one."""
    from dalda.config import MergeConfig
    from dalda.generation.sharding import Shard
    from dalda.workflows.merge import merge

    plan, places = large_plan(requests), []
    for number in range(1, 5):
        places.append(folder / f"shard-{number}")
        fill(places[-1], GenerationPlan(Shard(number, 4).requests(plan.requests)))
    before = begin_peak()
    clock = Clock()
    report = merge(MergeConfig(places=tuple(places), out=folder / "all"))
    spent = clock.spent()
    assert report.images == requests
    return {**spent, "megabytes_before": round(before, 1)}


PARTS: dict[str, Callable[[int, Path], dict[str, float]]] = {
    "plan": measure_plan,
    "shards": measure_shards,
    "opening": measure_opening,
    "merge": measure_merge,
    "generating": measure_generating,
}


def in_its_own_process(part: str, requests: int) -> dict[str, float]:
    """A part's figures with its peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            __file__,
            "--part",
            part,
            "--requests",
            str(requests),
            "--folder",
            folder + "/out",
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return {"requests": requests, **figures}


def run_part(part: str, requests: int, folder: Path) -> dict[str, float]:
    figures = PARTS[part](requests, folder)
    return {**figures, "peak_megabytes": round(peak(), 1)}


def measure(requests: int, generated: Sequence[int]) -> dict[str, object]:
    few, many = (in_its_own_process("generating", number) for number in generated)
    growth = many["peak_megabytes"] - few["peak_megabytes"]
    added = [one["peak_megabytes"] - one["megabytes_before"] for one in (few, many)]
    return {
        "plan": in_its_own_process("plan", requests),
        "shards": in_its_own_process("shards", requests),
        "opening": in_its_own_process("opening", requests),
        "merge": in_its_own_process("merge", requests),
        "generating": [few, many],
        "generating_peak_growth_megabytes": round(growth, 1),
        "generating_peak_growth_percent": round(100 * growth / few["peak_megabytes"], 2),
        "generating_adds_megabytes": [round(one, 1) for one in added],
        "generating_adds_growth_percent": round(100 * (added[1] / added[0] - 1), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument(
        "--requests", type=int, default=100_000, help="requests of the plan and the finished folder"
    )
    parser.add_argument(
        "--generated", type=int, nargs=2, default=(1000, 4000), help="doodles, few and many"
    )
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.requests < LOST or not 0 < options.generated[0] < options.generated[1]:
        parser.error(f"--requests must be at least {LOST}, and --generated two rising numbers from 1")
    if options.part:
        print(json.dumps(run_part(options.part, options.requests, options.folder)))
    else:
        print(json.dumps(measure(options.requests, options.generated), indent=2))


if __name__ == "__main__":
    main()
