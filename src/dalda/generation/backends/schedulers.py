"""How noise becomes a image: the schedulers by name, and which of the steps are guided."""

from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

from dalda.errors import UserError, first_line
from dalda.models.presets import Preset, Sampler

_KINDS: dict[Sampler, tuple[type[Any], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}
"""No ancestral one: it would draw from a global generator at every step."""


def scheduler_of(preset: Preset, own: Any) -> Any:
    """The preset's scheduler over its noise schedule, or else over that of the model's `own` scheduler.

    Raises UserError for a noise schedule that is none, and where it cannot take the preset's steps.
    """
    kind, settings = _KINDS[preset.scheduler]
    if preset.noise_schedule is not None:
        own = _trained_with(preset.noise_schedule)
    # DDIM would cut what it predicts at 1 where a model that was saved with another scheduler says nothing.
    if kind is DDIMScheduler and "clip_sample" not in own.config:
        settings = {"clip_sample": False}
    scheduler = kind.from_config(own.config, **settings)
    try:
        scheduler.set_timesteps(preset.steps)
    except (ValueError, IndexError) as error:
        raise UserError(
            f"the scheduler {preset.scheduler} cannot take {preset.steps} steps ({first_line(error)}); "
            "choose others with --steps"
        ) from error
    return scheduler


def _trained_with(noise_schedule: Mapping[str, Any]) -> DDIMScheduler:
    try:
        return DDIMScheduler(**{"clip_sample": False, **noise_schedule})
    except Exception as error:  # whatever a strange word or value makes it stumble over
        raise UserError(
            f"--model-option noise_schedule cannot be used ({first_line(error)}); write settings of "
            "diffusers' DDIMScheduler, such as {beta_schedule: scaled_linear}"
        ) from error


def draws_noise(scheduler: Any) -> bool:
    """Whether its steps draw noise of their own."""
    return isinstance(scheduler, LCMScheduler)


def guided_steps(interval: tuple[float, float], steps: int) -> range:
    """The steps at which classifier-free guidance is on (arXiv 2404.07724), as diffusers' guiders count.

    The interval is a part of the steps, from 0 (the noise) to 1 (the image); at least one is guided.
    """
    first, end = (int(part * steps + 1e-9) for part in interval)
    return range(first, max(end, first + 1))
