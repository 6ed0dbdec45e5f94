"""The plan: every decision about every synthetic image, made before the first is generated.

All randomness is drawn here, from a seed per image, so the plan is a pure function of its inputs: order of
work, batch size, device, executor and interruptions cannot change it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields

from dalda.config.roles import content_of
from dalda.errors import UserError
from dalda.models.presets import Preset
from dalda.seeding import seed_of
from dalda.types import Capability, GenerationPlan, GenerationRequest

NUMBERS = {
    **dict.fromkeys(("index", "seed", "steps"), int),
    **dict.fromkeys(("guidance_scale", "ip_adapter_scale", "strength"), float),
}


def generator_fingerprint(preset: Preset, contents: Mapping[str, str]) -> dict[str, object]:
    """Whatever decides a preset's pixels beyond rounding; the user's folders by content."""
    decides = {item.name for item in fields(preset) if item.metadata.get("decides_pixels", True)}
    return {
        name: contents.get(f"preset.{name}", value)
        for name, value in content_of(preset).items()
        if name in decides
    }


def refuse_incapable(
    method: str, needs: frozenset[Capability], generator: str, has: frozenset[Capability]
) -> None:
    """Raises UserError if a method needs what a generator is not capable of."""
    missing = sorted(needs - has)
    if missing:
        raise UserError(
            f"the method {method} needs {' and '.join(map(_described, missing))}, which the model "
            f"'{generator}' does not have; choose another with --model or --method"
        )


def _described(capability: Capability) -> str:
    """The capability, with an example of a model that has it where few have."""
    if capability == Capability.EDIT:
        return "edit (an InstructPix2Pix model such as timbrooks/instruct-pix2pix)"
    if capability == Capability.CONCEPTS:
        return "concepts (a Stable Diffusion 1.x model)"
    return capability


def make_plan(requests: Iterable[GenerationRequest], generator: str) -> GenerationPlan:
    """The requests as a plan for the generator with this digest.

    Numbers become what the fields say: 7 and 7.0 are one scale, and give one id. Raises ValueError for a
    wrong one, and for one that is there twice.
    """
    planned: dict[str, GenerationRequest] = {}
    for request in list(requests):  # all before the first id: in turns, both take a third longer
        if request.strength is not None and not 0 < request.strength <= 1:
            raise ValueError(f"a strength must be above 0 and at most 1, not {request.strength}")
        if not 0 <= request.ip_adapter_scale < float("inf"):
            raise ValueError(f"an IP-Adapter scale must be 0 or more, not {request.ip_adapter_scale}")
        values = request.__dict__
        corrected: dict[str, object] = {
            name: number(values[name])
            for name, number in NUMBERS.items()
            if type(values[name]) is not number and values[name] is not None
        }
        if request.generator != generator:  # which methods need not know
            corrected["generator"] = generator
        if corrected:
            request = request.variant(corrected)
        if request.id in planned:
            raise ValueError(
                f"the method {request.method} requests the same image twice: {request.label}, index "
                f"{request.index}, seed {request.seed}; each needs an index or a seed of its own"
            )
        planned[request.id] = request
    return GenerationPlan(tuple(planned.values()))


def with_next_seed(request: GenerationRequest) -> GenerationRequest:
    """The same request with other noise, for an invalid first image."""
    return request.variant({"seed": seed_of(request.seed, "again")})
