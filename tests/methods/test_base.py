"""Requests of every method: pure functions of the split, the captions and the seed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalda.config.methods import METHODS
from dalda.errors import UserError
from dalda.methods.base import Common, Tools, draw_captions, method_named, method_options
from dalda.methods.fitting.recipe import FitJob
from dalda.methods.real_guidance import strength_for
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, GenerationRequest, RealImage

CAPTIONS = {"car": ["a car", "a red car", "a fast car"], "tree": ["a tree", "an old tree"]}
COMMON = Common("dalda", "digest", 3, "best, ", "bad", 2.0, 20)


def images_of(count: int) -> list[RealImage]:
    return [RealImage(Path(f"data/{n}.png"), ["car", "tree"][n % 2], f"hash{n}") for n in range(count)]


def requests_of(
    images: Sequence[RealImage],
    name: str = "dalda",
    *,
    per_image: int = 3,
    seed: int = 0,
    root: Path = Path("data"),
    jobs: list[FitJob] | None = None,
    **options: Any,
) -> list[GenerationRequest]:
    split = FewShotSplit("folder", root, "train", 0, None, ("car", "tree"), tuple(images))
    method = method_named(name)
    probabilities = [0.1 if image.label == "tree" else 0.9 for image in images]

    def fit(job: FitJob) -> str:
        asked.append(job)
        return job.key

    asked = [] if jobs is None else jobs
    features = np.array([[1.0, 0.2] if image.label == "car" else [0.1, 1.0] for image in images])
    tools = Tools(
        replace(COMMON, method=name, per_image=per_image),
        lambda: probabilities,
        clip_features=lambda: features,
        fit=fit,
        model="model",
    )
    prepared = method.prepare(split, method_options(method, options), tools)
    return list(method.requests(split, CAPTIONS, prepared, seed))


@pytest.mark.parametrize("name", METHODS)
@given(order=st.permutations(range(6)))
def test_a_request_does_not_depend_on_the_order_of_the_images(name: str, order: list[int]) -> None:
    usual = {request.id: request for request in requests_of(images_of(6), name)}
    shuffled = {request.id: request for request in requests_of([images_of(6)[n] for n in order], name)}
    assert shuffled == usual


@pytest.mark.parametrize("name", METHODS)
def test_more_images_keep_the_first_ones(name: str) -> None:
    few = requests_of(images_of(2), name)
    many = requests_of(images_of(2), name, per_image=9)
    assert [request for request in many if request.index < 3] == few


@pytest.mark.parametrize("name", METHODS)
def test_seeds_differ_and_equal_images_get_their_own(name: str) -> None:
    duplicates = [RealImage(Path("a.png"), "car", "same"), RealImage(Path("b.png"), "car", "same")]
    requests = requests_of([*duplicates, *images_of(2)], name)
    assert len({request.seed for request in requests}) == len(requests) == 12
    assert len({request.id for request in requests}) == 12
    assert requests_of(images_of(2), name, seed=1) != requests_of(images_of(2), name)


def test_scales_follow_the_class_probabilities() -> None:
    for request in requests_of(images_of(6)):
        low, high = (0.7, 0.9) if request.label == "tree" else (0.1, 0.4 + 0.1 * 3**0.5)
        assert low <= request.ip_adapter_scale <= high
        assert request.ip_adapter_scale_mean is not None


@pytest.mark.parametrize("name", ["dalda", "dipsy"])
def test_shuffled_scales_are_the_adaptive_ones_of_other_images(name: str) -> None:
    adaptive = requests_of(images_of(6), name, ip_adapter_scale="adaptive")
    dealt = requests_of(images_of(6), name, ip_adapter_scale="shuffled")
    drawn = ("ip_adapter_scale", "ip_adapter_scale_mean")
    for index in range(3):
        before, after = ([x for x in part if x.index == index] for part in (adaptive, dealt))
        values = [[[getattr(x, field) for field in drawn] for x in part] for part in (before, after)]
        assert sorted(values[0]) == sorted(values[1])
        assert all(own != other for own, other in zip(*values, strict=True))
    assert [replace(x, ip_adapter_scale=0, ip_adapter_scale_mean=0) for x in dealt] == [
        replace(x, ip_adapter_scale=0, ip_adapter_scale_mean=0) for x in adaptive
    ]
    more = requests_of(images_of(6), name, ip_adapter_scale="shuffled", per_image=5)
    assert [x for x in more if x.index < 3] == dealt
    other_order = requests_of(images_of(6)[::-1], name, ip_adapter_scale="shuffled")
    assert {x.id for x in other_order} == {x.id for x in dealt}


def test_prompts_have_the_prefix_and_use_captions_without_replacement() -> None:
    requests = requests_of(images_of(1))
    assert sorted(request.prompt for request in requests) == sorted(
        "best, " + text for text in CAPTIONS["car"]
    )
    assert {request.negative_prompt for request in requests} == {"bad"}
    assert draw_captions(["a"], 3, generator_of(0, "x")) == ["a"] * 3


def test_several_image_prompts_are_real_images_of_the_class() -> None:
    usual = requests_of(images_of(7))
    several = requests_of(images_of(7), image_prompts=3, image_prompt_merging="mean")
    for one, request in zip(usual, several, strict=True):
        assert (request.ip_adapter_scale, request.prompt, request.seed) == (
            one.ip_adapter_scale,
            one.prompt,
            one.seed,
        )
        assert request.id != one.id
        assert request.image_prompt_merging == "mean"
        prompts = {sha256 for _, sha256 in request.source_files}
        assert len(prompts) == 3
        assert prompts <= {image.sha256 for image in images_of(7) if image.label == request.label}
    assert len({request.more_source_sha256s for request in several if request.label == "car"}) > 3


def test_a_class_with_few_images_repeats_them_as_image_prompts() -> None:
    requests = requests_of(images_of(3), image_prompts=4)
    assert {request.more_source_sha256s for request in requests if request.label == "tree"} == {
        ("hash1",) * 3
    }
    assert {request.more_source_sha256s for request in requests if request.source_sha256 == "hash0"} == {
        ("hash2", "hash0", "hash2")
    }
    with pytest.raises(UserError, match="image_prompts=2 needs several real images of a class"):
        requests_of(images_of(2), image_prompts=2)


def test_text_has_no_image_prompt_and_image_variation_no_caption() -> None:
    assert {request.ip_adapter_scale for request in requests_of(images_of(4), "text")} == {0.0}
    variations = requests_of(images_of(4), "image-variation")
    assert {(request.ip_adapter_scale, request.prompt) for request in variations} == {(1.0, "best")}


def test_real_guidance_has_a_strength_by_shots() -> None:
    four = [RealImage(Path(f"{n}.png"), "car", f"car{n}") for n in range(4)]
    one = RealImage(Path("t.png"), "tree", "tree")
    strengths = {request.label: request.strength for request in requests_of([*four, one], "real-guidance")}
    assert strengths == {"car": 0.35, "tree": 0.5}
    assert {request.strength for request in requests_of(four, "real-guidance", strength=0.9)} == {0.9}


@pytest.mark.parametrize(
    ("shots", "strength"), [(1, 0.5), (2, 0.4), (4, 0.35), (8, 0.2), (16, 0.15), (64, 0.15), (3, 0.3708)]
)
def test_the_papers_strengths_are_interpolated_over_the_logarithm(shots: int, strength: float) -> None:
    assert strength_for(shots) == pytest.approx(strength, abs=1e-4)


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(UserError, match="no method 'dald'; choose another with --method: dalda, text"):
        method_named("dald")
    with pytest.raises(UserError, match="text has no option 'strength'; its options are: none"):
        method_options(method_named("text"), {"strength": 1})
    with pytest.raises(UserError, match="'strength' of the method real-guidance is wrong"):
        method_options(method_named("real-guidance"), {"strength": "much"})


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("da-fusion", "strengths", [0.0, 0.5]),
        ("da-fusion", "strengths", [1.5]),
        ("da-fusion", "strengths", []),
        ("da-fusion", "strengths", ""),
        ("da-fusion", "strengths", "0.5,much"),
        ("da-fusion", "strengths", {"a": 1}),
        ("da-fusion", "inpaint", "sky"),
        ("da-fusion", "masks", 3),
        ("da-fusion", "guidance_scale", float("inf")),
        ("diagen", "strengths", [float("nan")]),
        ("diagen", "noise", [-0.1]),
        ("diff-mix", "strengths", []),
        ("diff-mix", "gamma", float("inf")),
        ("diff-aug", "strengths", [-1.0]),
        ("dipsy", "positive_scale", float("nan")),
        ("dipsy", "temperature", 0.0),
        ("diffusemix", "fractal", 1.5),
        ("datadream", "scope", "world"),
        ("datadream", "share", -0.5),
        ("dalda", "image_prompts", 0),
    ],
)
def test_a_wrong_value_of_an_option_is_one_sentence(name: str, option: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^the option '{option}' of the method {name} is wrong: [A-Z]"):
        method_options(method_named(name), {option: value})
    with pytest.raises(UserError, match="'bird'"):
        requests_of([RealImage(Path("b.png"), "bird", "b")])


def test_the_command_line_has_lists_as_text() -> None:
    written = {"strengths": "0.3,0.7", "noise": "0"}
    options = method_options(method_named("diagen"), written)
    assert (options.strengths, options.noise) == ((0.3, 0.7), (0.0,))
    assert method_options(method_named("diff-mix"), {"strengths": 0.5}).strengths == (0.5,)
    with pytest.raises(UserError, match=r"unable to parse string as a number: 'x'$"):
        method_options(method_named("diff-mix"), {"strengths": "0.3,x"})


@given(st.integers(1, 7), st.integers(0, 30), st.integers(0, 2**31))
def test_captions_are_dealt_without_replacement_per_pass(size: int, count: int, seed: int) -> None:
    captions = [f"caption {index}" for index in range(size)]
    dealt = draw_captions(captions, count, generator_of(seed, "captions"))
    assert len(dealt) == count
    for start in range(0, count, size):
        assert max(Counter(dealt[start : start + size]).values()) == 1
    assert dealt == draw_captions(captions, count, generator_of(seed, "captions"))


def test_each_pass_has_its_own_order() -> None:
    captions = [f"caption {index}" for index in range(10)]
    dealt = draw_captions(captions, 30, generator_of(0, "captions"))
    assert len({tuple(dealt[start : start + 10]) for start in (0, 10, 20)}) == 3
