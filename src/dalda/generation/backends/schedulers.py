"""Schedulers by name, which of the steps are run, and which of them are guided."""

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


def scheduler_of(preset: Preset, stock: Any) -> Any:
    """The preset's scheduler over its noise schedule, or else over that of the model's `stock` one.

    Raises UserError for an invalid noise schedule, and for steps that the scheduler cannot take.
    """
    kind, settings = _KINDS[preset.scheduler]
    if preset.noise_schedule is not None:
        stock = _trained_with(preset.noise_schedule)
    # DDIM clips its prediction to 1 by default, also for a model that was saved with another scheduler.
    if kind is DDIMScheduler and "clip_sample" not in stock.config:
        settings = {"clip_sample": False}
    scheduler = kind.from_config(stock.config, **settings)
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
    except Exception as error:  # an unknown name or value raises anything
        raise UserError(
            f"--model-option noise_schedule cannot be used ({first_line(error)}); write settings of "
            "diffusers' DDIMScheduler, such as {beta_schedule: scaled_linear}"
        ) from error


def draws_noise(scheduler: Any) -> bool:
    """Whether its steps draw noise of their own."""
    return isinstance(scheduler, LCMScheduler)


def first_step(strength: float | None, steps: int) -> int:
    """The step at which an image starts: 0 from noise, later from its source image, as in diffusers.

    At a strength of 1 all steps are run, from the source image with the most noise; at least one step is.
    """
    return 0 if strength is None else min(steps - int(steps * strength), steps - 1)


def guided_steps(interval: tuple[float, float], steps: int) -> range:
    """The steps at which classifier-free guidance is on (arXiv 2404.07724), as diffusers' guiders count.

    The interval is in shares of the steps, from 0 (the noise) to 1 (the image); at least one is guided.
    """
    first, end = (int(share * steps + 1e-9) for share in interval)
    return range(first, max(end, first + 1))
