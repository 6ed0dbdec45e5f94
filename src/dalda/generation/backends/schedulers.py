"""Schedulers by name, which of the steps are run, and which of them are guided."""

from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from dalda.errors import UserError, first_line
from dalda.models.presets import Preset, Sampler

_KINDS: dict[Sampler, tuple[type[Any], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "euler-ancestral": (EulerAncestralDiscreteScheduler, {}),
    "flow-euler": (FlowMatchEulerDiscreteScheduler, {}),
}
Timesteps = Mapping[str, Any]
"""What a model family adds to `set_timesteps`: its own sigmas, or the shift of its resolution."""


def scheduler_of(preset: Preset, stock: Any, timesteps: Timesteps | None = None) -> Any:
    """The preset's scheduler over its noise schedule, or else over that of the model's `stock` one.

    Raises UserError for an invalid noise schedule, for a scheduler that the model was not trained for, and
    for steps that the scheduler cannot take.
    """
    kind, settings = _KINDS[preset.scheduler]
    flows = {name for name, (other, _) in _KINDS.items() if other is FlowMatchEulerDiscreteScheduler}
    fitting = [name for name in _KINDS if (name in flows) == is_flow(stock)]
    if preset.scheduler not in fitting:
        raise UserError(
            f"the model '{preset.model}' cannot be sampled with {preset.scheduler}; choose --scheduler "
            f"{', '.join(fitting)}"
        )
    if is_flow(stock) and preset.shift is not None:
        settings = {"shift": preset.shift, "use_dynamic_shifting": False}
    if preset.noise_schedule is not None:
        stock = _trained_with(preset.noise_schedule)
    # DDIM clips its prediction to 1 by default, also for a model that was saved with another scheduler.
    if kind is DDIMScheduler and "clip_sample" not in stock.config:
        settings = {"clip_sample": False}
    scheduler = kind.from_config(stock.config, **settings)
    try:
        scheduler.set_timesteps(preset.steps, **(timesteps or {}))
    except (ValueError, IndexError) as error:
        raise UserError(
            f"the scheduler {preset.scheduler} cannot take {preset.steps} steps ({first_line(error)}); "
            "choose others with --steps"
        ) from error
    return scheduler


def _trained_with(noise_schedule: Mapping[str, Any]) -> DDIMScheduler:
    try:
        return DDIMScheduler(**{"clip_sample": False, **noise_schedule})
    except Exception as error:  # an unknown name or value raises anything
        raise UserError(
            f"--model-option noise_schedule cannot be used ({first_line(error)}); write settings of "
            "diffusers' DDIMScheduler, such as {beta_schedule: scaled_linear}"
        ) from error


def is_flow(scheduler: Any) -> bool:
    """Whether it samples flow-matching models (Esser et al., arXiv 2403.03206)."""
    return isinstance(scheduler, FlowMatchEulerDiscreteScheduler)


def draws_noise(scheduler: Any) -> bool:
    """Whether its steps draw noise of their own."""
    return isinstance(scheduler, LCMScheduler | EulerAncestralDiscreteScheduler) or bool(
        scheduler.config.get("stochastic_sampling")
    )


def first_latents(scheduler: Any, noise: Tensor, initial: Tensor | None, start: int) -> Tensor:
    """What a row starts with: noise, or the noisy latents of its initial image at step `start`."""
    if initial is None:
        return noise if is_flow(scheduler) else noise * scheduler.init_noise_sigma
    return with_noise(scheduler, initial, noise, scheduler.timesteps[start : start + 1])


def with_noise(scheduler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """Latents with as much of the noise as there is at the timestep, [1]."""
    if is_flow(scheduler):
        mixed: Tensor = scheduler.scale_noise(latents, timestep, noise)
    else:
        mixed = scheduler.add_noise(latents, noise, timestep)
    return mixed


def model_input(scheduler: Any, latents: Tensor, timestep: Tensor) -> Tensor:
    """Latents as the model takes them at this step."""
    if is_flow(scheduler):
        return latents
    scaled: Tensor = scheduler.scale_model_input(latents, timestep)
    return scaled


def first_step(strength: float | None, steps: int, *, flow: bool = False) -> int:
    """The step at which an image starts: 0 from noise, later from its source image, as in diffusers.

    At a strength of 1 all steps are run, from the source image with the most noise; at least one step is.
    Pipelines of flow-matching models round to the step before, the others to the step after.
    """
    if strength is None:
        return 0
    start = int(steps - min(steps * strength, steps)) if flow else steps - int(steps * strength)
    return min(start, steps - 1)


def guided_steps(interval: tuple[float, float], steps: int) -> range:
    """The steps at which classifier-free guidance is on (arXiv 2404.07724), as diffusers' guiders count.

    The interval is in shares of the steps, from 0 (the noise) to 1 (the image); at least one is guided.
    """
    first, end = (int(share * steps + 1e-9) for share in interval)
    return range(first, max(end, first + 1))
