"""Requests for tiny models, and what stock diffusers makes of them, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.generation.tiny import save_tiny

from dalda.generation.backends.attention import TextAndImageAttention, install
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.stable_diffusion import load_stable_diffusion
from dalda.models.presets import Preset
from dalda.types import GenerationRequest

STEPS, GUIDANCE = 3, 4.0


def request_of(number: int, ip_adapter_scale: float, source: str | None = None) -> GenerationRequest:
    return GenerationRequest(
        source=Path("a.png"),
        source_sha256=source or f"source{number}",
        label="car",
        index=0,
        method="dalda",
        generator="tiny",
        prompt=f"a photo of a {['red', 'green', 'white'][number % 3]} car",
        negative_prompt="low quality",
        ip_adapter_scale=ip_adapter_scale,
        source_clip_probability=None,
        guidance_scale=GUIDANCE,
        steps=STEPS,
        seed=100 + number,
    )


def source_of(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))


def preset_of(folder: Path, kind: str = "plain", *, xl: bool = False) -> Preset:
    model, adapter = save_tiny(folder, kind, xl=xl)
    return Preset(
        model=str(model),
        adapter=str(adapter),
        adapter_folder="models",
        adapter_file="tiny.safetensors",
        image_encoder="models/image_encoder",
        clip="",
    )


def load(preset: Preset, **execution: Any) -> DiffusionGenerator:
    return load_stable_diffusion(GeneratorSpec(preset, **execution))


def latents_of(
    generator: DiffusionGenerator, requests: list[GenerationRequest], sources: list[Image.Image]
) -> torch.Tensor:
    """The last latents of a batch, before decoding rounds them to bytes."""
    with torch.no_grad():
        return generator.denoise(generator._filled(requests), generator._filled(sources))[: len(requests)]


def pipeline_of(generator: DiffusionGenerator) -> Any:
    conditioner: Any = generator.conditioner
    return conditioner.pipeline


def stock_latents(pipeline: Any, request: GenerationRequest, source: Any, **more: Any) -> torch.Tensor:
    """One image as stock diffusers makes it; `source` is an image prompt, [[several]] or None."""
    pipeline.set_progress_bar_config(disable=True)
    if source is not None:
        pipeline.set_ip_adapter_scale(more.pop("scales", request.ip_adapter_scale))
    with torch.no_grad():
        made = pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
            ip_adapter_image=source,
            **more,
        )
    latents: torch.Tensor = made.images
    return latents


def stock_of(generator: DiffusionGenerator) -> dict[str, Any]:
    """The stock processors behind ours."""
    return {
        name: processor.stock for name, processor in pipeline_of(generator).unet.attn_processors.items()
    }


@contextmanager
def stock_model(generator: DiffusionGenerator) -> Iterator[Any]:
    """The generator's pipeline as diffusers has it."""
    ours = pipeline_of(generator).unet.attn_processors.values()
    weights = next(one.weights for one in ours if isinstance(one, TextAndImageAttention))
    pipeline_of(generator).unet.set_attn_processor(stock_of(generator))
    pipeline_of(generator).scheduler = generator.scheduler
    try:
        yield pipeline_of(generator)
    finally:
        install(pipeline_of(generator).unet, adapters=weights)
