"""What stock diffusers' flow-matching pipelines make of a request, one image at a time."""

from typing import Any

import torch
from diffusers import FluxPipeline
from tests.generation.tiny_transformers import SIZE

from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.types import GenerationRequest


def pipeline_of(generator: DiffusionGenerator) -> Any:
    conditioner: Any = generator.conditioner
    return conditioner.encoders.pipeline


def stock_latents(pipeline: Any, request: GenerationRequest, source: Any, **more: Any) -> torch.Tensor:
    """One image, [1, channels, side, side]; `source` is an image prompt, [[several]] or None."""
    pipeline.set_progress_bar_config(disable=True)
    if source is not None:
        pipeline.set_ip_adapter_scale(request.ip_adapter_scale)
        more["ip_adapter_image"] = source
    if "Flux" not in type(pipeline).__name__:
        more["negative_prompt"] = request.negative_prompt
    with torch.no_grad():
        made: torch.Tensor = pipeline(
            prompt=request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
            height=SIZE,
            width=SIZE,
            **more,
        ).images
    return made if made.ndim == 4 else FluxPipeline._unpack_latents(made, SIZE, SIZE, 2)
