"""Trials on features against the original code's loop: the same schedule, one machine, one run.

    python benchmarks/trials.py --json

Doodles of all 12 classes, 8 shots and 10 copies each; the copies are drawn, not generated, for it is the
trials that are measured. The original code's loop draws fresh views at every step and, after every epoch,
200 x 32 validation images with replacement (the paper's schedule: 50 epochs x 200 steps x 32 images).

Seconds are those of one trial, seed 0, from files to its accuracy: ours with its features, which no other
trial has computed before, the original code's with its validation. For the accuracies, the exact path
trains the other seeds too, without the original code's validation. CPU seconds are given as well: they
bear with a machine that does other things.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.doodles.vocabulary import CLASSES
from dalda.evaluation.backbones.load import load_backbone
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.training import TrainingMethod, fit_heads, prepare, run_trials
from dalda.evaluation.trial import Schedule, Trial, image_file, labels_of
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, RealImage, SyntheticImage


def open_image(path: Path, *, sha256: str = "", shorter: int = 0) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def drawn(folder: Path, part: str, name: str, number: int) -> RealImage:
    rng = generator_of(0, "benchmark", part, name, number)
    path = folder / part / name / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_doodle(random_doodle(rng, name), rng)).save(path)
    return RealImage(path, name, hashlib.sha256(path.read_bytes()).hexdigest())


def world(
    folder: Path, shots: int, copies: int, held_out: int
) -> tuple[FewShotSplit, tuple[SyntheticImage, ...], FewShotSplit]:
    """A few-shot split, its copies, and a validation split."""
    train = [drawn(folder, "train", name, number) for name in CLASSES for number in range(shots)]
    split = FewShotSplit("doodles", folder, "train", 0, shots, CLASSES, tuple(train))
    samples = []
    for place, example in enumerate(train):
        for repeat in range(copies):
            made = drawn(folder, "synthetic", example.label, place * copies + repeat)
            name = f"{place}-{repeat}"
            samples.append(
                SyntheticImage(
                    made.path, made.label, example.path, example.sha256, repeat, name, "", 0.5, None
                )
            )
    rest = [drawn(folder, "val", name, number) for name in CLASSES for number in range(held_out)]
    return split, tuple(samples), replace(split, part="val", shots=None, images=tuple(rest))


def reference(
    trial: Trial, validation: FewShotSplit, store: FeatureStore, schedule: Schedule, *, whole: bool
) -> float:
    """The exact path's accuracy on every validation image; `whole` validates as the original code does,
    too."""
    heads, views = prepare([trial], store, schedule, TrainingMethod(online=True))
    labels = torch.from_numpy(labels_of(validation.images, validation.classes))
    generator = generator_of(trial.seed, "validation draws")
    for step, _ in enumerate(fit_heads(heads, views, schedule), 1):
        if step % schedule.iterations:
            continue
        print(f"seed {trial.seed}, epoch {step // schedule.iterations}", file=sys.stderr, flush=True)
        for _ in range(schedule.iterations if whole else 0):
            batch = generator.integers(len(labels), size=schedule.batch)
            images = [open_image(validation.images[number].path) for number in batch]
            heads.accuracies(store.backbone.extract(images), labels[batch])
    features = torch.from_numpy(store.plain([image_file(image) for image in validation.images]))
    return heads.accuracies(features, labels)[0]


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    found[f"{name}_seconds"] = round(time.perf_counter() - wall, 2)
    found[f"{name}_cpu_seconds"] = round(time.process_time() - cpu, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--small", action="store_true", help="a minute instead of most of an hour")
    options = parser.parse_args()
    schedule = Schedule(2, 10) if options.small else Schedule()
    backbone = load_backbone("doodle")
    shots, copies, held_out = (2, 3, 20) if options.small else (8, 10, 100)
    found: dict[str, Any] = {"classes": len(CLASSES), "shots": shots, "copies": copies}
    with tempfile.TemporaryDirectory() as folder:
        split, samples, validation = world(Path(folder), shots, copies, held_out)
        trials = [Trial("benchmark", seed, split, samples) for seed in range(3)]

        def fresh() -> FeatureStore:
            return FeatureStore(backbone, open_image)

        with timed(found, "ours"):
            run_trials(trials[:1], validation, fresh(), schedule)
        with timed(found, "original"):
            first = reference(trials[0], validation, fresh(), schedule, whole=True)
        rest = [reference(trial, validation, fresh(), schedule, whole=False) for trial in trials[1:]]
        ours = [one.accuracy for one in run_trials(trials, validation, fresh(), schedule)]
    found["speedup"] = round(found["original_seconds"] / found["ours_seconds"], 1)
    found["cpu_speedup"] = round(found["original_cpu_seconds"] / found["ours_cpu_seconds"], 1)
    found["ours_accuracy"] = [round(one, 4) for one in ours]
    found["exact_accuracy"] = [round(one, 4) for one in [first, *rest]]
    found["difference_points"] = round(100 * float(np.mean(ours) - np.mean([first, *rest])), 2)
    print(
        json.dumps(found) if options.json else "\n".join(f"{key}: {value}" for key, value in found.items())
    )


if __name__ == "__main__":
    main()
