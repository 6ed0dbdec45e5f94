"""The GPU path, measured in one command of at most eight minutes, without a network.

    python benchmarks/gpu.py --json > gpu.json            # on a machine with a CUDA card
    python benchmarks/gpu.py --toy --device cpu --json    # the same code at toy sizes, anywhere

Weights are seeded and random but of the real shapes: they cost the same as the real ones. Of Stable
Diffusion 1.5 at 512 pixels it measures the original DALDA code's way (one image at a time through stock
diffusers, its CLIP class probability computed again) and ours: at 30 steps with guidance in batches of 1 to
64, at 8 steps with guidance on a part of them, at 4 steps without; the time by part and the peak of memory;
then each variant alone: contiguous, cuDNN's own choice of algorithms, compiled blocks against the whole
UNet, with and without CUDA graphs, each kind of attention, bf16. Then Stable Diffusion XL at 1024 pixels
and a reduced FLUX (its real width, fewer blocks). What no time is left for, or what this card cannot do, is
listed under `skipped`.

`utilisation` is the denoiser's FLOPs, counted by torch, in the measured time against the card's dense peak
in half precision (dalda.models.catalogue). `ratio` is against the original code's way in this run.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from parts.random_models import benchmark_preset, random_flux, random_pipeline, random_scorer, random_sdxl
from parts.sources import drawn_sources
from parts.variants import forget, variants_of
from render import Bench, clock, stock_copy, timed
from torch.utils.flop_counter import FlopCounterMode

from dalda.config import AugmentConfig
from dalda.datasets.image_io import open_image
from dalda.device import free_memory, is_out_of_memory
from dalda.doodles.vocabulary import CLASSES
from dalda.errors import first_line
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.flux import assemble_flux
from dalda.generation.backends.pipeline_parts import DTYPES
from dalda.generation.backends.schedulers import scheduler_of
from dalda.generation.backends.stable_diffusion import assemble
from dalda.generation.image_encoding import FORMATS, encode
from dalda.models.catalogue import PEAK_TERAFLOPS
from dalda.models.clip import load_clip
from dalda.models.presets import PRESETS, Preset
from dalda.types import GenerationRequest
from dalda.workflows.augment_plan import plan_augment
from dalda.workflows.real_images import split_of

OTHER_MODELS = 105
"""Seconds that the variants leave for XL and FLUX."""
SLACK = 1.3
"""A case is begun if this many times its expected seconds are left."""


@dataclass
class Case:
    """One setting, and what was measured of it."""

    name: str
    steps: int
    batch: int = 1
    dtype: str = "fp16"
    channels_last: bool = True
    compiled: bool = False
    images_per_second: float = 0.0
    utilisation: float | None = None
    ratio: float | None = None
    peak_gigabytes: float | None = None
    seconds_to_warm: float = 0.0


@dataclass
class Answer:
    """Everything that is printed."""

    device: str
    peak_teraflops: float | None
    cases: list[Case] = field(default_factory=list)
    seconds_by_part: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


@dataclass
class Session:
    """The card, the seconds that are left, and the answer so far."""

    device: str
    toy: bool
    until: float
    answer: Answer

    def left(self) -> float:
        return self.until - time.monotonic()

    def has(self, seconds: float, what: str) -> bool:
        """Whether that many seconds are left; otherwise the case is listed as skipped."""
        if self.left() >= seconds:
            return True
        self.answer.skipped.append(f"{what}: {self.left():.0f} s left")
        return False

    def record(self, case: Case, teraflops: float) -> None:
        peak = self.answer.peak_teraflops
        if peak is not None:
            case.utilisation = round(case.images_per_second * teraflops / peak, 3)
        original = [one.images_per_second for one in self.answer.cases if one.name == "original"]
        if original and case.name.startswith("sd15"):
            case.ratio = round(case.images_per_second / original[0], 2)
        self.answer.cases.append(case)
        print(json.dumps(asdict(case)), file=sys.stderr, flush=True)


def main() -> None:
    asked = arguments()
    device = asked.device
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    peak = next((value for card, value in PEAK_TERAFLOPS.items() if card in name), None)
    session = Session(device, asked.toy, time.monotonic() + asked.budget, Answer(name, peak))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for part in (stable_diffusion, stable_diffusion_xl, flux):
            try:
                part(session, Path(folder))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                session.answer.skipped.append(f"{part.__name__}: out of memory")
            free_memory()
    answer = asdict(session.answer)
    print(json.dumps(answer) if asked.json else json.dumps(answer, indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=480, help="seconds in all")
    parser.add_argument("--toy", action="store_true", help="tiny models, for a machine without a card")
    parser.add_argument("--json", action="store_true", help="one line")
    return parser.parse_args()


def stable_diffusion(session: Session, folder: Path) -> None:
    """Stable Diffusion 1.5 at 512 pixels (toy: the doodle model)."""
    toy = session.toy
    dtype = "fp32" if toy else "fp16"
    preset = benchmark_preset("doodle" if toy else "sd15-random", session.device, 2 if toy else None, None)
    with on(session.device):
        pipeline = toy_pipeline(preset) if toy else random_pipeline(preset, DTYPES[dtype])
    scorer = load_clip(preset.clip, session.device) if toy else random_scorer(session.device)
    stock = stock_copy(pipeline, preset, session.device)
    generator = assemble(pipeline, GeneratorSpec(preset, session.device, dtype, channels_last=not toy))
    data = drawn_sources(folder / "data", CLASSES[:2], 1, preset.size or 32)
    config = AugmentConfig(
        dataset=str(data),
        out=folder,
        per_image=64,
        device=session.device,
        model_option={"steps": preset.steps, "guidance_scale": preset.guidance_scale, "words": "doodles"},
    )
    requests = list(plan_augment(config, [0.5] * len(split_of(config).images)).plan.requests)
    full = teraflops(generator, requests[:1])

    original = Bench(folder, tuple(requests[: 2 if toy else 4]), scorer, stock, generator, preset)
    original.warm(original.original)
    seconds, _ = timed(original.original, session.device)
    case = Case("original", preset.steps, dtype=dtype, channels_last=False)
    case.images_per_second = round(len(original.requests) / seconds, 3)
    session.record(case, full)
    del original, stock, scorer

    best = sweep(
        session, "sd15", generator, requests, full, dtype, (1, 2) if toy else (1, 4, 8, 16, 32, 64)
    )
    session.answer.seconds_by_part = parts(generator, pipeline, requests[:best])
    few = preset.steps if toy else 8
    settings: dict[str, dict[str, Any]] = {
        "sd15 interval": {"steps": few, "scheduler": "dpm-solver++", "guidance_interval": (0.2, 0.8)},
        "sd15 lcm-like": {"steps": min(4, few), "scheduler": "lcm", "guidance_scale": 1.0},
    }
    for name, changes in settings.items():
        row = replace(preset, **changes)
        chosen = [replace(one, steps=row.steps, guidance_scale=row.guidance_scale) for one in requests]
        scheduler, generator.scheduler = generator.scheduler, scheduler_of(row, generator.scheduler)
        generator.guidance_interval = row.guidance_interval
        sweep(session, name, generator, chosen, teraflops(generator, chosen[:1]), dtype, (best,))
        generator.scheduler, generator.guidance_interval = scheduler, preset.guidance_interval
    for variant in variants_of(generator, pipeline, toy=toy):
        name = f"sd15 {variant.name}"
        if not session.has(0 if toy else variant.seconds + OTHER_MODELS, name):
            continue
        used = variant.dtype or dtype
        try:
            with variant.used():
                sweep(session, name, generator, requests, full, used, (best,), compiled=variant.compiled)
        except Exception as error:  # a card or a compiler that cannot do one of them costs that one alone
            session.answer.skipped.append(f"{name}: {first_line(error)}")
            free_memory()


def toy_pipeline(preset: Preset) -> Any:
    from dalda.generation.backends.loader import load_pipeline

    return load_pipeline(preset, torch.float32)


def stable_diffusion_xl(session: Session, folder: Path) -> None:
    """Stable Diffusion XL at 1024 pixels (toy: a few channels at 64)."""
    if not session.has(0 if session.toy else 60, "sdxl"):
        return
    dtype = "fp32" if session.toy else "fp16"
    preset = replace(PRESETS["sdxl"], size=64 if session.toy else 1024, steps=2 if session.toy else 30)
    with on(session.device):
        pipeline = random_sdxl(DTYPES[dtype], toy=session.toy)
    spec = GeneratorSpec(preset, session.device, dtype, channels_last=not session.toy)
    generator = assemble(pipeline, spec)
    requests = requests_for(preset)
    flops = teraflops(generator, requests[:1])
    sweep(session, "sdxl", generator, requests, flops, dtype, (1, 2) if session.toy else (1, 4, 8))


def flux(session: Session, folder: Path) -> None:
    """FLUX at its real width with fewer blocks, at 1024 pixels (toy: a narrow one at 64)."""
    if not session.has(0 if session.toy else 45, "flux"):
        return
    dtype = "fp32" if session.toy else "bf16"
    preset = replace(PRESETS["flux-dev"], size=64 if session.toy else 1024, steps=2 if session.toy else 8)
    with on(session.device):
        pipeline = random_flux(DTYPES[dtype], toy=session.toy)
    generator = assemble_flux(pipeline, GeneratorSpec(preset, session.device, dtype))
    requests = requests_for(preset, scale=0.0)
    flops = teraflops(generator, requests[:1])
    sweep(session, "flux reduced", generator, requests, flops, dtype, (1, 2) if session.toy else (1, 4))


def requests_for(preset: Preset, scale: float = 0.5) -> list[GenerationRequest]:
    """Sixty-four requests that differ in prompt, scale and seed."""
    return [
        GenerationRequest(
            source=Path(),
            source_sha256=str(number % 4),
            label="car",
            index=number,
            seed=number,
            prompt=f"a photo of car number {number}",
            guidance_scale=preset.guidance_scale,
            steps=preset.steps,
            ip_adapter_scale=scale * number / 64,
        )
        for number in range(64)
    ]


def sweep(
    session: Session,
    name: str,
    generator: DiffusionGenerator,
    requests: Sequence[GenerationRequest],
    flops: float,
    dtype: str,
    sizes: Sequence[int],
    *,
    compiled: bool = False,
) -> int:
    """One timed batch of each size after one to warm up; returns the size with most images per second."""
    best, fastest, expected = sizes[0], 0.0, 0.0
    for size in sizes:
        batch = list(requests[:size])
        steps = batch[0].steps
        case = Case(name, steps, size, dtype, "contiguous" not in name and not session.toy, compiled)
        if not session.has(SLACK * 2 * expected * size, f"{name}, batch {size}"):
            break
        try:
            if session.device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            case.seconds_to_warm = round(timed(lambda: generate(generator, batch), session.device)[0], 2)  # noqa: B023
            seconds, _ = timed(lambda: generate(generator, batch), session.device)  # noqa: B023
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            session.answer.skipped.append(f"{name}, batch {size}: out of memory")
            free_memory()
            break
        if session.device.startswith("cuda"):
            case.peak_gigabytes = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        expected = seconds / size
        case.images_per_second = round(size / seconds, 3)
        session.record(case, flops)
        if case.images_per_second > fastest:
            best, fastest = size, case.images_per_second
    return best


def generate(generator: DiffusionGenerator, requests: Sequence[GenerationRequest]) -> list[Any]:
    """A batch with a source image each; sources are drawn once a key."""
    return generator.generate(requests, [source_for(generator, request) for request in requests])


def source_for(generator: DiffusionGenerator, request: GenerationRequest) -> Any:
    from PIL import Image

    if request.source.is_file():
        return open_image(request.source)
    size = generator.image_size
    return Image.effect_noise((size, size), 64 + int(request.source_sha256)).convert("RGB")


def teraflops(generator: DiffusionGenerator, requests: Sequence[GenerationRequest]) -> float:
    """What the denoiser computes for one image, counted on a run of it."""
    counter = FlopCounterMode(display=False)
    denoise = generator.denoiser.predict

    def counted(*arguments: Any) -> torch.Tensor:
        with counter:
            return denoise(*arguments)

    generator.denoiser.predict = counted  # type: ignore[method-assign, assignment]
    try:
        generate(generator, requests)
    finally:
        del generator.denoiser.predict
    return counter.get_total_flops() / 1e12


def parts(
    generator: DiffusionGenerator, pipeline: Any, requests: Sequence[GenerationRequest]
) -> dict[str, float]:
    """Seconds of one batch by part; every part waits for the card, so that nothing overlaps."""
    forget(generator)
    spent, device = defaultdict[str, float](float), generator.device
    images: list[Any] = []
    with ExitStack() as stack:
        for module, label in (
            ("text_encoder", "text"),
            ("image_encoder", "image encoder"),
            ("unet", "unet"),
        ):
            stack.enter_context(clock(getattr(pipeline, module), ("forward",), label, spent, device))
        stack.enter_context(clock(pipeline.vae, ("decode",), "vae", spent, device))
        total, _ = timed(lambda: images.extend(generate(generator, requests)), device)
    encoding, _ = timed(lambda: [encode(image, FORMATS["png"]) for image in images if image], "cpu")
    shown = {name: round(seconds, 3) for name, seconds in spent.items()}
    return {**shown, "idle": round(total - sum(spent.values()), 3), "encoding of files": round(encoding, 3)}


@contextmanager
def on(device: str) -> Iterator[None]:
    """Weights are drawn where they are needed, which a card does in a moment."""
    with torch.device(device):
        yield


if __name__ == "__main__":
    main()
