"""Our rendering against the original code's: the same weights, requests, steps and scheduler, in one run.

    python benchmarks/render.py [--model doodle|sd15-random] [--device cpu|cuda] --json

The original code's way is one image at a time through the stock pipeline of diffusers, the CLIP class
probability computed again for every image, its text tower included, and the image saved in the same thread.
Ours is what `dalda augment` does: scores, plan, batches, and a finished folder with metadata. Both start
with loaded models. They take turns; figures are medians. `fast` is ours once more, with fewer steps and
guidance on a part of them; tools/judge_doodles.py judges images of the same settings.

`sd15-random` has Stable Diffusion 1.5's exact architecture, that of its image encoder and of CLIP
ViT-B/16, with seeded random weights: they cost the same as the real ones. On a CPU it runs at a reduced
size.

Seconds of the process on any CPU are given as well: they bear with a machine that does other things.
The shares come from one more run with a clock around each model, seen from the thread that renders;
`own` is all that is no model's computing.
"""

import argparse
import copy
import csv
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from parts.random_models import benchmark_preset, random_pipeline, random_scorer
from parts.sources import drawn_sources

from dalda.config import AugmentConfig
from dalda.datasets.image_io import open_image
from dalda.doodles.vocabulary import CLASSES
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.loader import load_pipeline
from dalda.generation.backends.pipeline_parts import DTYPES
from dalda.generation.backends.schedulers import scheduler_of
from dalda.generation.backends.stable_diffusion import assemble
from dalda.models.clip import Clip, load_clip
from dalda.models.presets import Preset
from dalda.types import GenerationRequest
from dalda.workflows.augment import generate_plan, open_dataset
from dalda.workflows.augment_plan import GeneratorLoader, plan_augment
from dalda.workflows.real_images import score_examples, split_of


def main() -> None:
    asked = arguments()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        answer = compared(asked, Path(folder))
    print(
        json.dumps(answer) if asked.json else "\n".join(f"{key}: {value}" for key, value in answer.items())
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=("doodle", "sd15-random"), default="doodle")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--examples", type=int, help="per class")
    parser.add_argument("--per-image", type=int, default=4)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--size", type=int, help="of sd15-random, in pixels")
    parser.add_argument("--dtype", choices=tuple(DTYPES))
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--fast-steps", type=int)
    parser.add_argument("--fast-scheduler", default="dpm-solver++")
    parser.add_argument("--fast-interval", default="0.2:0.8")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def compared(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    small, cpu = asked.model == "doodle", asked.device == "cpu"
    dtype = asked.dtype or ("fp32" if cpu else "fp16")
    preset = benchmark_preset(asked.model, asked.device, asked.steps, asked.size)
    classes = CLASSES if small or not cpu else CLASSES[:2]
    examples = asked.examples or (2 if small or not cpu else 1)
    data = drawn_sources(folder / "data", classes, examples, 32 if small else 512)
    scorer = load_clip(preset.clip, asked.device) if small else random_scorer(asked.device)
    pipeline = load_pipeline(preset, DTYPES[dtype]) if small else random_pipeline(preset, DTYPES[dtype])
    stock = stock_copy(pipeline, preset, asked.device)
    generator = assemble(
        pipeline, GeneratorSpec(preset, asked.device, dtype, asked.channels_last, asked.compile)
    )
    config = AugmentConfig(
        dataset=str(data),
        out=folder,
        per_image=asked.per_image,
        batch_size=asked.batch_size,
        device=asked.device,
        model_option={"steps": preset.steps, "guidance_scale": preset.guidance_scale, "words": "doodles"},
    )
    few = asked.fast_steps or max(2, preset.steps // 2 if small else 8 if preset.steps >= 8 else 2)
    fast = config.model_copy(
        update={
            "steps": few,
            "scheduler": asked.fast_scheduler,
            "guidance_interval": tuple(map(float, asked.fast_interval.split(":"))),
        }
    )
    requests = plan_augment(config, [0.5] * len(split_of(config).images)).plan.requests
    bench = Bench(folder, requests, scorer, stock, generator, preset)
    ways: dict[str, Callable[[], None]] = {
        "original": bench.original,
        "ours": lambda: bench.ours(config),
        "fast": lambda: bench.ours(fast),
    }
    for way in ways.values():
        bench.warm(way)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(asked.repeats):
        for name, way in ways.items():
            taken[name].append(timed(way, asked.device))
            print(f"{name}: {taken[name][-1][0]:.1f} s", file=sys.stderr, flush=True)
    wall, used = ({name: [both[kind] for both in taken[name]] for name in ways} for kind in (0, 1))
    return {
        "model": asked.model,
        "device": torch.cuda.get_device_name() if not cpu else f"cpu, {torch.get_num_threads()} threads",
        "dtype": dtype,
        "size": generator.image_size,
        "steps": preset.steps,
        "images": len(requests),
        "images_per_second": {name: round(len(requests) / median(wall[name]), 2) for name in ways},
        "ratio": round(median(wall["original"]) / median(wall["ours"]), 2),
        "fast_ratio": round(median(wall["original"]) / median(wall["fast"]), 2),
        "cpu_seconds_ratio": round(median(used["original"]) / median(used["ours"]), 2),
        "fast_cpu_seconds_ratio": round(median(used["original"]) / median(used["fast"]), 2),
        "fast_settings": {
            "steps": few,
            "scheduler": asked.fast_scheduler,
            "guidance_interval": asked.fast_interval,
        },
        "ours_shares": bench.shares(lambda: bench.ours(config), pipeline),
        "reference_shares": bench.shares(bench.original, stock),
        "seconds": {name: [round(one, 2) for one in wall[name]] for name in ways},
        "cpu_seconds": {name: [round(one, 2) for one in used[name]] for name in ways},
    }


class Bench:
    """The two ways to make the same images."""

    def __init__(
        self,
        folder: Path,
        requests: tuple[GenerationRequest, ...],
        scorer: Clip,
        stock: Any,
        generator: DiffusionGenerator,
        preset: Preset,
    ) -> None:
        self.folder, self.requests, self.scorer = folder, requests, scorer
        self.stock, self.generator, self.preset = stock, generator, preset
        self.runs = 0

    def out(self) -> Path:
        self.runs += 1
        return self.folder / f"out{self.runs}"

    def warm(self, way: Callable[[], None]) -> None:
        """A first run of a few requests, for what is only slow once (for compiled blocks: of all
        shapes)."""
        requests = self.requests
        if way == self.original:
            self.requests = requests[:2]
        way()
        self.requests = requests

    def original(self) -> None:
        out = self.out()
        out.mkdir()
        classes = sorted({request.label for request in self.requests})
        with (out / "source_image_prompt.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            for number, request in enumerate(self.requests):
                (score,) = self.scorer.scores(
                    [(request.source, classes.index(request.label))], classes, open_image
                )
                source = open_image(request.source)
                self.stock.set_ip_adapter_scale(request.ip_adapter_scale)
                (image,) = self.stock(
                    prompt=request.prompt,
                    negative_prompt=request.negative_prompt,
                    ip_adapter_image=source.resize((self.generator.image_size, self.generator.image_size)),
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    generator=torch.Generator().manual_seed(request.seed),
                    height=self.generator.image_size,
                    width=self.generator.image_size,
                ).images
                name = f"aug-{number}.png"
                lines.writerow([request.source, name, request.prompt, request.ip_adapter_scale, score])
                image.resize(source.size).save(out / name)

    def ours(self, config: AugmentConfig) -> None:
        config = config.model_copy(update={"out": self.out()})
        scores = score_examples(split_of(config), self.scorer)
        decided = plan_augment(config, scores)
        generator = self.generator
        # What `dalda augment` would have loaded for these settings.
        generator.guidance_interval = decided.preset.guidance_interval
        preset = replace(self.preset, scheduler=decided.preset.scheduler, steps=decided.preset.steps)
        generator.scheduler = scheduler_of(preset, self.stock.scheduler)
        loader = GeneratorLoader(lambda: generator, generator)
        report = generate_plan(config, decided, open_dataset(config, decided), loader)
        if report.generated + report.dropped != len(self.requests):
            raise RuntimeError(f"{report.generated} of {len(self.requests)} images were generated")

    def shares(self, way: Callable[[], None], pipeline: Any) -> dict[str, float]:
        """Where one run's time goes."""
        device, spent = self.generator.device, defaultdict[str, float](float)
        with (
            clock(pipeline.unet, ("forward",), "unet", spent, device),
            clock(pipeline.vae, ("decode",), "vae", spent, device),
            clock(pipeline.text_encoder, ("forward",), "text_encoder", spent, device),
            clock(pipeline.image_encoder, ("forward",), "image_encoder", spent, device),
            clock(self.scorer, ("text_features", "image_features"), "scorer", spent, device),
        ):
            total, _ = timed(way, device)
        parts = {name: round(value / total, 4) for name, value in sorted(spent.items())}
        return {**parts, "own": round(1 - sum(spent.values()) / total, 4)}


def timed(way: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds, and seconds of this process on any CPU, which bear with a machine that does other things."""
    _wait(device)
    started, used = time.perf_counter(), time.process_time()
    way()
    _wait(device)
    return time.perf_counter() - started, time.process_time() - used


@contextmanager
def clock(
    owner: Any, names: tuple[str, ...], label: str, spent: dict[str, float], device: str
) -> Iterator[None]:
    """Adds the seconds of some methods to `spent`."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **settings: Any) -> Any:
            _wait(device)
            started = time.perf_counter()
            try:
                return method(*arguments, **settings)
            finally:
                _wait(device)
                spent[label] += time.perf_counter() - started

        return measured

    for name in names:
        # Past the guard of frozen dataclasses: the scorer is one.
        owner.__dict__[name] = around(getattr(owner, name))
    try:
        yield
    finally:
        for name in names:
            del owner.__dict__[name]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def stock_copy(pipeline: Any, preset: Preset, device: str) -> Any:
    """The same model, as diffusers has it, before we change anything."""
    parts = {
        **pipeline.components,
        "unet": copy.deepcopy(pipeline.unet),
        "vae": copy.deepcopy(pipeline.vae),
    }
    stock = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    stock.scheduler = scheduler_of(preset, pipeline.scheduler)
    stock.set_progress_bar_config(disable=True)
    return stock.to(device)


if __name__ == "__main__":
    main()
