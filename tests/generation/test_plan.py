from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalda.captions.caption_file import assign_captions
from dalda.errors import UserError
from dalda.generation.plan import Recipe, make_plan
from dalda.methods.scale_policy import adaptive, fixed
from dalda.types import FewShotSplit, GenerationPlan, GenerationRequest, RealImage

RECIPE = Recipe("dalda", "doodle", "best, ", "bad", 2.0, 20, per_image=3, seed=0)
CAPTIONS = {"car": ["a car", "a red car", "a fast car"], "tree": ["a tree", "an old tree"]}


def split_of(examples: Sequence[RealImage]) -> FewShotSplit:
    return FewShotSplit("folder", Path("data"), "train", 0, None, ("car", "tree"), tuple(examples))


def examples_of(count: int) -> list[RealImage]:
    return [RealImage(Path(f"data/{n}.png"), ["car", "tree"][n % 2], f"hash{n}") for n in range(count)]


def plan_of(examples: Sequence[RealImage], recipe: Recipe = RECIPE) -> GenerationPlan:
    scores = [0.1 if example.label == "tree" else 0.9 for example in examples]
    return make_plan(split_of(examples), CAPTIONS, scores, adaptive(), assign_captions, recipe)


@given(st.permutations(range(6)))
def test_a_request_does_not_depend_on_the_order_of_the_examples(order: list[int]) -> None:
    examples = examples_of(6)
    usual = {request.id: request for request in plan_of(examples).requests}
    shuffled = {request.id: request for request in plan_of([examples[n] for n in order]).requests}
    assert shuffled == usual


def test_more_copies_keep_the_first_ones_noise_and_weight() -> None:
    few = plan_of(examples_of(2)).requests
    many = plan_of(examples_of(2), replace(RECIPE, per_image=9)).requests
    first = [request for request in many if request.repeat < 3]
    assert [(request.seed, request.ip_adapter_scale) for request in few] == [
        (request.seed, request.ip_adapter_scale) for request in first
    ]


def test_paths_do_not_decide_pixels() -> None:
    here = plan_of(examples_of(4)).requests
    there = plan_of([replace(one, path=Path("/elsewhere") / one.path) for one in examples_of(4)]).requests
    assert [request.id for request in here] == [request.id for request in there]


@pytest.mark.parametrize("name", ["seed", "ip_adapter_scale", "prompt", "steps", "guidance_scale", "model"])
def test_every_input_is_in_the_id(name: str) -> None:
    request: GenerationRequest = plan_of(examples_of(1)).requests[0]
    other = {"prompt": "x", "model": "x"}.get(name, 7)
    assert replace(request, **{name: other}).id != request.id  # type: ignore[arg-type]


def test_seeds_differ_and_equal_images_get_their_own() -> None:
    duplicates = [RealImage(Path("a.png"), "car", "same"), RealImage(Path("b.png"), "car", "same")]
    requests = plan_of([*duplicates, *examples_of(2)]).requests
    assert (
        len({request.seed for request in requests})
        == len(requests)
        == len({request.id for request in requests})
    )


def test_weights_follow_the_scores() -> None:
    for request in plan_of(examples_of(6)).requests:
        low, high = (0.7, 0.9) if request.label == "tree" else (0.1, 0.4 + 0.1 * 3**0.5)
        assert low <= request.ip_adapter_scale <= high
        assert request.ip_adapter_scale_mean is not None


def test_prompts_carry_the_prefix_and_spend_captions_without_replacement() -> None:
    requests = list(plan_of(examples_of(1)).requests)
    assert sorted(request.prompt for request in requests) == sorted(
        "best, " + text for text in CAPTIONS["car"]
    )
    assert {request.negative_prompt for request in requests} == {"bad"}


def test_shots_are_counted_per_class() -> None:
    seen: list[int] = []

    def draw(score: float | None, shots: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
        seen.append(shots)
        return fixed(0.5)(score, shots, rng)

    examples = [*examples_of(2), RealImage(Path("x"), "car", "x")]
    make_plan(split_of(examples), CAPTIONS, None, draw, assign_captions, replace(RECIPE, per_image=1))
    assert seen == [2, 1, 2]


def test_a_class_without_captions_is_named() -> None:
    with pytest.raises(UserError, match="'tree'"):
        make_plan(split_of(examples_of(2)), {"car": ["a car"]}, None, fixed(0), assign_captions, RECIPE)
