"""The plan: every decision about every synthetic image, made before the first is generated.

All randomness is spent here, from a seed per image, so the plan is a pure function of its inputs:
order of work, batch size, device and interruptions cannot change it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dalda.errors import UserError
from dalda.seeding import generator_of, seed_of
from dalda.types import FewShotSplit, GenerationPlan, GenerationRequest, RealImage, ScaleDraw

DrawScale = Callable[[float | None, int, np.random.Generator], ScaleDraw]
"""(CLIP class probability, examples in the class, generator) -> lambda."""
DealCaptions = Callable[[Sequence[str], int, np.random.Generator], Sequence[str]]
"""(captions of the class, how many are wanted, generator) -> one caption per repeat."""


@dataclass(frozen=True)
class Recipe:
    """What all requests of one synthetic set have in common."""

    method: str
    model: str
    prompt_prefix: str
    negative_prompt: str
    guidance_scale: float
    steps: int
    per_image: int
    seed: int


def make_plan(
    split: FewShotSplit,
    captions: Mapping[str, Sequence[str]],
    scores: Sequence[float] | None,
    draw_weight: DrawScale,
    deal_captions: DealCaptions,
    recipe: Recipe,
) -> GenerationPlan:
    """`per_image` requests for every example, in the split's order.

    `captions` maps class to captions; `scores` holds the CLIP class probability of each of the split's
    examples. Raises UserError for a class without captions.
    """
    for name in split.classes:
        if not captions.get(name):
            raise UserError(f"the captions hold none for the class '{name}'; write some and run again")
    shots = Counter(example.label for example in split.images)
    seen: Counter[tuple[str, str]] = Counter()
    requests: list[GenerationRequest] = []
    every: Sequence[float | None] = [None] * len(split.images) if scores is None else scores
    for example, score in zip(split.images, every, strict=True):
        # Two examples with equal bytes still get captions, weights and noise of their own.
        duplicate = seen[example.label, example.sha256]
        seen[example.label, example.sha256] += 1
        requests += _requests_of(
            example,
            duplicate,
            captions[example.label],
            score,
            shots[example.label],
            draw_weight,
            deal_captions,
            recipe,
        )
    return GenerationPlan(tuple(requests))


def _requests_of(
    example: RealImage,
    duplicate: int,
    captions: Sequence[str],
    score: float | None,
    shots: int,
    draw_weight: DrawScale,
    deal_captions: DealCaptions,
    recipe: Recipe,
) -> list[GenerationRequest]:
    item = (example.label, example.sha256, duplicate)
    dealt = deal_captions(captions, recipe.per_image, generator_of(recipe.seed, "captions", *item))
    requests = []
    for repeat, caption in enumerate(dealt):
        weight = draw_weight(score, shots, generator_of(recipe.seed, "lambda", *item, repeat))
        requests.append(
            GenerationRequest(
                source=example.path,
                source_sha256=example.sha256,
                label=example.label,
                repeat=repeat,
                method=recipe.method,
                model=recipe.model,
                prompt=recipe.prompt_prefix + caption,
                negative_prompt=recipe.negative_prompt,
                ip_adapter_scale=weight.ip_adapter_scale,
                ip_adapter_scale_mean=weight.mean,
                source_clip_probability=score,
                guidance_scale=recipe.guidance_scale,
                strength=None,
                steps=recipe.steps,
                seed=seed_of(recipe.seed, "noise", *item, repeat),
            )
        )
    return requests


def with_next_seed(request: GenerationRequest) -> GenerationRequest:
    """The same request with other noise, for when the first image is none."""
    return replace(request, seed=seed_of(request.seed, "again"))
