"""What each speed knob of rendering gives, and what rounding it costs, one knob at a time, in one run.

    python benchmarks/knobs.py [--model doodle|sd15-random] [--device cpu|cuda] --json

Each knob is set alone and takes turns with the settings as they come, on the same requests; `times` is the
median of how many times as fast it is. `psnr_db` compares the images with those of the settings as they
come: it tells the rounding of a dtype, a layout, a compiler or a batch size. Other steps or schedulers
make other images; what those are worth, tools/judge_doodles.py says.

Only rendering is timed: prompts and sources are encoded before, and nothing is saved. `sd15-random` has
Stable Diffusion 1.5's exact architecture with seeded random weights, on a CPU at a reduced size.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from parts.random_models import benchmark_preset, random_pipeline
from parts.sources import drawn_sources
from PIL import Image

from dalda.config import AugmentConfig
from dalda.datasets.image_io import open_source
from dalda.doodles.vocabulary import CLASSES
from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.loader import load_pipeline
from dalda.generation.backends.pipeline_parts import DTYPES
from dalda.generation.backends.stable_diffusion import assemble
from dalda.models.presets import Preset
from dalda.types import GenerationRequest
from dalda.workflows.augment_plan import plan_augment
from dalda.workflows.real_images import split_of


@dataclass(frozen=True)
class Knob:
    """What differs from the settings as they come."""

    preset: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    """dtype, channels_last, compiled"""
    batch_size: int | None = None
    tiny_vae: bool = False


def knobs_for(steps: int, images: int, *, tiny_vae: bool) -> dict[str, Knob]:
    """By the option that sets it; `steps` and `images` are those of the settings as they come."""
    few = max(2, steps // 2)
    knobs = {
        f"--steps {few}": Knob({"steps": few}),
        f"--scheduler dpm-solver++ --steps {few}": Knob({"scheduler": "dpm-solver++", "steps": few}),
        f"--scheduler unipc --steps {few}": Knob({"scheduler": "unipc", "steps": few}),
        "--guidance-interval 0.2:0.8": Knob({"guidance_interval": (0.2, 0.8)}),
        "--guidance-scale 1": Knob({"guidance_scale": 1.0}),
        f"--scheduler dpm-solver++ --steps {few} --guidance-interval 0.2:0.8": Knob(
            {"scheduler": "dpm-solver++", "steps": few, "guidance_interval": (0.2, 0.8)}
        ),
        "--scheduler lcm --steps 2 --guidance-scale 1": Knob(
            {"scheduler": "lcm", "steps": 2, "guidance_scale": 1.0}
        ),
        "--dtype bf16": Knob(model={"dtype": "bf16"}),
        "--dtype fp16": Knob(model={"dtype": "fp16"}),
        "--channels-last": Knob(model={"channels_last": True}),
        "--compile": Knob(model={"compile": True}),
    }
    if images > 1:
        knobs["--batch-size 1"] = Knob(batch_size=1)
    if tiny_vae:
        knobs["--vae madebyollin/taesd"] = Knob(tiny_vae=True)
    return knobs


@dataclass(frozen=True)
class Bench:
    model: str
    device: str
    preset: Preset
    requests: tuple[GenerationRequest, ...]

    def generator(self, knob: Knob) -> DiffusionGenerator:
        how = {"dtype": self.dtype, "channels_last": False, "compile": False, **knob.model}
        preset = replace(self.preset, **knob.preset)
        dtype = DTYPES[how["dtype"]]
        random = self.model == "sd15-random"
        pipeline = random_pipeline(preset, dtype) if random else load_pipeline(preset, dtype)
        if knob.tiny_vae:
            torch.manual_seed(0)
            pipeline.vae = AutoencoderTiny().to(dtype).eval().requires_grad_(False)
        return assemble(pipeline, GeneratorSpec(preset, self.device, **how))

    @property
    def dtype(self) -> str:
        return "fp32" if self.device == "cpu" else "fp16"

    def generated(
        self, generator: DiffusionGenerator, knob: Knob
    ) -> tuple[float, list[Image.Image | None]]:
        """Seconds for all requests, and their images."""
        preset = replace(self.preset, **knob.preset)
        requests = [
            replace(request, steps=preset.steps, guidance_scale=preset.guidance_scale)
            for request in self.requests
        ]
        sources = [open_source(request.source) for request in requests]
        size = knob.batch_size or len(requests)
        images: list[Image.Image | None] = []
        started = time.perf_counter()
        for start in range(0, len(requests), size):
            images += generator.generate(requests[start : start + size], sources[start : start + size])
        return time.perf_counter() - started, images

    def measured(self, plain: DiffusionGenerator, knob: Knob, repeats: int) -> dict[str, float | None]:
        """The knob in turn with the settings as they come."""
        generator = self.generator(knob)
        _, before = self.generated(plain, Knob())
        _, after = self.generated(generator, knob)
        taken = [
            (self.generated(plain, Knob())[0], self.generated(generator, knob)[0]) for _ in range(repeats)
        ]
        return {
            "images_per_second": round(len(self.requests) / median(own for _, own in taken), 2),
            "times": round(median(base / own for base, own in taken), 2),
            "psnr_db": psnr(before, after),
        }


def psnr(before: list[Image.Image | None], after: list[Image.Image | None]) -> float | None:
    """Of all images together, in dB; None where they are equal, or where one is no image."""
    if any(one is None for one in [*before, *after]):
        return None
    first, second = (np.stack([np.asarray(one, float) for one in side]) for side in (before, after))
    error = float(((first - second) ** 2).mean())
    return round(10 * np.log10(255**2 / error), 1) if error else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=("doodle", "sd15-random"), default="doodle")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, help="rendered together")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--size", type=int, help="of sd15-random, in pixels")
    asked = parser.parse_args()
    small, cpu = asked.model == "doodle", asked.device == "cpu"
    preset = benchmark_preset(asked.model, asked.device, asked.steps, asked.size)
    images = asked.images or (32 if small else 2 if cpu else 8)
    with tempfile.TemporaryDirectory() as folder:
        data = drawn_sources(Path(folder) / "data", CLASSES[:4], 1, 32 if small else 512)
        config = AugmentConfig(
            dataset=str(data),
            out=Path(folder),
            per_image=-(-images // 4),
            model_option={
                "steps": preset.steps,
                "guidance_scale": preset.guidance_scale,
                "words": "doodles",
            },
        )
        requests = plan_augment(config, [0.5] * len(split_of(config).images)).plan.requests[:images]
        bench = Bench(asked.model, asked.device, preset, requests)
        plain = bench.generator(Knob())
        bench.generated(plain, Knob())
        answer: dict[str, Any] = {
            "model": asked.model,
            "device": "cpu" if cpu else torch.cuda.get_device_name(),
            "threads": torch.get_num_threads(),
            "size": plain.image_size,
            "steps": preset.steps,
            "images": len(requests),
            "images_per_second": round(len(requests) / bench.generated(plain, Knob())[0], 2),
            "knobs": {},
        }
        for option, knob in knobs_for(preset.steps, len(requests), tiny_vae=not small).items():
            print(option, file=sys.stderr, flush=True)
            try:
                answer["knobs"][option] = bench.measured(plain, knob, asked.repeats)
            except UserError as error:
                answer["knobs"][option] = {"error": str(error)}
    print(json.dumps(answer, indent=None if asked.json else 2))


if __name__ == "__main__":
    main()
