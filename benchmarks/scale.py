"""A simulated large run, step by step, and memory while generating, as one JSON object.

The steps work on one folder: a plan, the images of four shards (placeholders of 16 x 16 pixels), one set
merged from them, its resume check, its opening, exports and a report. Each runs in a process of its own, so
that its peak of memory is its own, libraries included. Nothing waits for the disk to have each file.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.types import FewShotSplit, GenerationPlan, RealImage

PER_IMAGE = 10
SHARDS = 4
LOST = 10
"""Images that are missing from the finished folder."""
CLASSES = 100
CAPTIONS = 10
SETTINGS = {"format": "png"}
Figures = dict[str, float]


class Clock:
    """Wall time, and this process's own: the two differ on a machine with other work."""

    def __init__(self) -> None:
        self.wall, self.process = time.perf_counter(), time.process_time()

    def spent(self) -> Figures:
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


def measure_plan(requests: int, folder: Path) -> Figures:
    """The plan with the ids of its requests, and how one of 1,000 machines finds its share of it."""
    from dalda.generation.sharding import Shard
    from dalda.methods.scale_policy import policy_named

    policy_named("adaptive", "truncated")
    clock = Clock()
    plan = large_plan(requests)
    ids = {request.id for request in plan.requests}
    spent = clock.spent()
    assert len(ids) == requests
    clock = Clock()
    shard = Shard(1, 1000).requests(plan.requests)
    return {**spent, "in_the_shard": len(shard), "shard_process_seconds": clock.spent()["process_seconds"]}


def measure_writing(requests: int, folder: Path) -> Figures:
    """Images and records of four shards, in a folder each."""
    from dalda.generation.image_encoding import FORMATS, encode
    from dalda.generation.records import Finished
    from dalda.generation.sharding import Shard, division_for

    plan = large_plan(requests)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    encoded = encode(image, FORMATS["png"])
    before, clock = begin_peak(), Clock()
    for number in range(1, SHARDS + 1):
        shard = Shard(number, SHARDS)
        own = shard.requests(plan.requests)
        division = division_for(-(-requests // SHARDS))
        dataset = SyntheticDataset.open(
            folder / f"shard-{number}", SETTINGS, part=shard.part, division=division
        )
        dataset.remember("extent", {"planned": requests})
        with dataset.held():
            for start in range(0, len(own), 1000):
                dataset.add([Finished(one, encoded, one.seed) for one in own[start : start + 1000]])
            dataset.settle(own)
    return {**clock.spent(), "megabytes_before": round(before, 1)}


def measure_merge(requests: int, folder: Path) -> Figures:
    """Four shards, in a folder each, joined into one set by hard links."""
    from dalda.config import MergeConfig
    from dalda.workflows.merge import merge

    places = tuple(folder / f"shard-{number}" for number in range(1, SHARDS + 1))
    clock = Clock()
    report = merge(MergeConfig(places=places, out=folder / "all"))
    spent = clock.spent()
    assert report.images == requests
    return {**spent, "parts": len(list((folder / "all/train").iterdir()))}


def measure_resuming(requests: int, folder: Path) -> Figures:
    """From the merged folder's settings to what is missing, some images having been lost; and whether the
    records are in the plan's order."""
    from dalda.generation.sharding import division_for, part_for

    plan = large_plan(requests)
    lost = plan.requests[: LOST * (requests // LOST) : requests // LOST]
    division, train = division_for(requests), folder / "all/train"
    moved = [train / part_for(one.id, "", division) / one.label / f"{one.id}.png" for one in lost]
    for path in moved:
        path.rename(folder / path.name)
    before, clock = begin_peak(), Clock()
    dataset = SyntheticDataset.open(folder / "all", SETTINGS)
    missing = dataset.missing(plan.requests)
    spent = clock.spent()
    clock = Clock()
    dataset.is_settled(plan.requests)
    settled = clock.spent()["process_seconds"]
    for path in moved:
        (folder / path.name).rename(path)
    assert len(missing) == LOST
    return {**spent, "order_process_seconds": settled, "megabytes_before": round(before, 1)}


def measure_opening(requests: int, folder: Path) -> Figures:
    """All images with their paths, labels and prompts, as training and review read them."""
    clock = Clock()
    images = SyntheticDataset.existing(folder / "all").synthetic_images()
    spent = clock.spent()
    assert len(images) == requests
    return spent


def measure_export(requests: int, folder: Path, form: str) -> Figures:
    """The set in another form."""
    from dalda.config import ExportConfig
    from dalda.workflows.export import export

    clock = Clock()
    report = export(ExportConfig(source=folder / "all", out=folder / form, to=form))
    spent = clock.spent()
    shutil.rmtree(folder / form)
    assert report.synthetic == requests
    return spent


def measure_report(requests: int, folder: Path) -> Figures:
    """The page, without a CLIP on disk: with one, 10,000 images are measured, however many there are."""
    from dalda.config import ReportConfig
    from dalda.workflows.report import report

    clock = Clock()
    page = report(ReportConfig(places=(folder / "all",), out=folder / "report.html"))
    spent = clock.spent()
    page.path.unlink()
    assert page.images == requests
    return {**spent, "page_megabytes": page.megabytes}


def measure_generating(requests: int, folder: Path) -> Figures:
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


STEPS: dict[str, Callable[[int, Path], Figures]] = {
    "plan": measure_plan,
    "writing": measure_writing,
    "merge": measure_merge,
    "resuming": measure_resuming,
    "opening": measure_opening,
    "export-parquet": partial(measure_export, form="parquet"),
    "export-webdataset": partial(measure_export, form="webdataset"),
    "export-folder": partial(measure_export, form="folder"),
    "report": measure_report,
}


def in_its_own_process(step: str, requests: int, folder: Path) -> Figures:
    """A step's figures with its peak of memory."""
    command = [sys.executable, __file__, "--step", step]
    command += ["--requests", str(requests), "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    print(step, figures, file=sys.stderr, flush=True)
    return figures


def run_step(step: str, requests: int, folder: Path) -> Figures:
    # What is measured is computing; bringing each of the files to the disk would take longer than all else.
    os.fsync = lambda handle: None  # type: ignore[assignment]
    measured = STEPS.get(step, measure_generating)(requests, folder)
    return {**measured, "peak_megabytes": round(peak(), 1)}


def measure_memory(generated: Sequence[int]) -> dict[str, object]:
    """What generating few and many doodles takes."""
    figures = []
    for number in generated:
        with tempfile.TemporaryDirectory() as folder:
            figures.append(in_its_own_process("generating", number, Path(folder) / "out"))
    few, many = figures
    growth = many["peak_megabytes"] - few["peak_megabytes"]
    added = [one["peak_megabytes"] - one["megabytes_before"] for one in figures]
    return {
        "generating": figures,
        "generating_peak_growth_megabytes": round(growth, 1),
        "generating_peak_growth_percent": round(100 * growth / few["peak_megabytes"], 2),
        "generating_adds_megabytes": [round(one, 1) for one in added],
        "generating_adds_growth_percent": round(100 * (added[1] / added[0] - 1), 2),
    }


def measure(requests: int, generated: Sequence[int]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        steps = {step: in_its_own_process(step, requests, Path(folder)) for step in STEPS}
    return {"requests": requests, **steps, **(measure_memory(generated) if generated else {})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument("--requests", type=int, default=100_000, help="requests of the plan")
    parser.add_argument(
        "--generated",
        type=int,
        nargs="*",
        default=(1000, 4000),
        help="doodles, few and many, or none",
    )
    parser.add_argument("--step", choices=(*STEPS, "generating"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    counts = options.generated
    if options.requests < LOST or (counts and not (len(counts) == 2 and 0 < counts[0] < counts[1])):
        parser.error(f"--requests must be at least {LOST}, and --generated two rising numbers from 1")
    if options.step:
        print(json.dumps(run_step(options.step, options.requests, options.folder)))
    else:
        print(json.dumps(measure(options.requests, options.generated), indent=2))


if __name__ == "__main__":
    main()
