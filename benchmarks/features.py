"""What a large table of features costs in memory: a whole trial on 100,000 images, memory-mapped.

    python benchmarks/features.py --json

The features are random numbers, 8 views of each image at 512 dimensions (1.6 GB on the disk): what is
measured is the memory of one trial of 50 x 200 x 32 draws on them, libraries included.
"""

import argparse
import json
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.backbones.load import load_backbone
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.training import run_trials
from dalda.evaluation.trial import Schedule, Trial
from dalda.types import FewShotSplit, RealImage

WIDTH, VIEWS, CLASSES, CHUNK = 512, 8, 10, 1000
UNIT = 1 if sys.platform == "darwin" else 1024


def resident_megabytes() -> float:
    """The most that this process ever held in memory, mapped pages included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6


def split_of(part: str, images: int) -> FewShotSplit:
    names = tuple(f"class {number}" for number in range(CLASSES))
    first = 0 if part == "train" else 10**9
    examples = [
        RealImage(Path(f"{number}.png"), names[number % CLASSES], f"{first + number:064x}")
        for number in range(images)
    ]
    return FewShotSplit("random", Path(), part, 0, None, names, tuple(examples))


def refuse(path: Path, *, sha256: str, shorter: int) -> Image.Image:
    raise SystemExit(f"{path} was opened")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    doodle = load_backbone("doodle")
    assert isinstance(doodle, ClipBackbone)
    backbone = replace(doodle, name="random", dimensions=WIDTH, fingerprint="random")
    split, validation = split_of("train", options.images), split_of("val", 2400)
    libraries = resident_megabytes()
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(
            backbone, lambda path, **_: sys.exit(f"{path} was opened"), folder=Path(folder)
        )
        generator = np.random.default_rng(0)
        for table, whole in ((store._viewed, split), (store._plain, validation)):
            keys = [one.sha256 for one in whole.images]
            for start in range(0, len(keys), CHUNK):
                part = keys[start : start + CHUNK]
                table.add(part, generator.random((len(part), table.width), np.float32))
        # Read again, as the next run would.
        store = FeatureStore(backbone, store.open_image, folder=Path(folder))
        schedule = Schedule(head_init="random")
        (result,) = run_trials([Trial("benchmark", 0, split)], validation, store, schedule)
    found = {
        "images": options.images,
        "features_megabytes": round(options.images * VIEWS * WIDTH * 4 / 1e6),
        "libraries_megabytes": round(libraries),
        "resident_megabytes": round(resident_megabytes()),
        "accuracy": result.accuracy,
    }
    print(
        json.dumps(found) if options.json else "\n".join(f"{key}: {value}" for key, value in found.items())
    )


if __name__ == "__main__":
    main()
