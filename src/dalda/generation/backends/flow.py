"""What flow-matching families share: the shift of their timesteps, and a generator of their parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from dalda.errors import UserError
from dalda.generation.backends.base import Denoiser, GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.latent_space import AutoencoderLatentSpace
from dalda.generation.backends.pipeline_parts import to_device
from dalda.generation.backends.rows import Encoders, RowConditioner
from dalda.generation.backends.schedulers import Timesteps, scheduler_of
from dalda.types import Capability


def dynamic_shift(scheduler: Any, tokens: int, *, max_shift: float) -> dict[str, float]:
    """The shift for an image of that many tokens, where the scheduler's follows the resolution."""
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        return {}
    shift = calculate_shift(
        tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", max_shift),
    )
    return {"mu": shift}


def even_sigmas(steps: int) -> Any:
    """The noise levels of FLUX: from 1 to 1 / steps, before the shift."""
    return np.linspace(1.0, 1 / steps, steps)


def assemble_flow(
    pipeline: Any,
    spec: GeneratorSpec,
    encoders: Encoders,
    denoiser: Denoiser,
    *,
    size: int,
    patch: int,
    channels: int,
    timesteps: Callable[[int], Timesteps],
    guidance: bool = True,
    latent_space: AutoencoderLatentSpace | None = None,
    references: bool = False,
    several: frozenset[Capability] = frozenset(),
) -> DiffusionGenerator:
    """A generator of a flow-matching model. Raises UserError for an image size that it cannot make.

    `references` says that the model itself reads source images, in place of an adapter; `several` which
    ways of merging image prompts there are.
    """
    preset, factor = spec.preset, pipeline.vae_scale_factor
    if size < 1 or size % (factor * patch):
        raise UserError(
            f"the model '{preset.model}' cannot make images of {size} pixels; "
            f"choose a multiple of {factor * patch} with --model-option size=..."
        )
    scheduler = scheduler_of(preset, pipeline.scheduler, timesteps(preset.steps))
    to_device(pipeline, spec)
    has_adapter = references or getattr(pipeline, "image_encoder", None) is not None
    capabilities = {Capability.IMAGE_PROMPT, *several} if has_adapter else set()
    if not references:
        capabilities.add(Capability.INIT_IMAGE)
    if spec.compile:
        pipeline.transformer.compile_repeated_blocks(dynamic=False)
    return DiffusionGenerator(
        RowConditioner(encoders, spec.device, pipeline.transformer.dtype, size, has_adapter, references),
        denoiser,
        latent_space or AutoencoderLatentSpace(pipeline.vae, size, channels, factor, spec.device),
        scheduler,
        size,
        frozenset(capabilities),
        replace(spec, channels_last=False),
        guidance,
        timesteps,
    )
