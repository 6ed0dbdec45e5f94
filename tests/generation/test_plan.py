"""Requests as a plan: their ids, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dalda.errors import UserError
from dalda.generation.executors.base import Batches
from dalda.generation.plan import generator_fingerprint, make_plan, refuse_incapable, with_next_seed
from dalda.models.presets import PRESETS
from dalda.types import Capability, GenerationRequest

REQUEST = GenerationRequest(
    source=Path("a.png"),
    source_sha256="hash",
    label="car",
    index=0,
    seed=1,
    prompt="a car",
    guidance_scale=7.5,
    steps=30,
)
OTHERS = {
    "source_sha256": "other",
    "label": "tree",
    "index": 1,
    "seed": 2,
    "prompt": "a tree",
    "guidance_scale": 3.0,
    "steps": 20,
    "negative_prompt": "bad",
    "method": "text",
    "generator": "other",
    "ip_adapter_scale": 0.5,
    "strength": 0.5,
    "concept": "hash",
    "soft_label": (("car", 0.8), ("tree", 0.2)),
    "source_label": "tree",
    "second_source_sha256": "other",
    "more_source_sha256s": ("other",),
    "image_prompt_merging": "mean",
    "image_guidance_scale": 1.5,
    "second_image_guidance_scale": -1.5,
    "size": 512,
    "overlay": 0.2,
    "mask_sha256": "other",
    "mask_growth": 0.1,
    "mask_inverted": True,
}
RECORDED = {
    "source": Path("b.png"),
    "second_source": Path("c.png"),
    "more_sources": (Path("d.png"),),
    "mask": Path("e.png"),
    "ip_adapter_scale_mean": 0.5,
    "drawn_similarity": 0.5,
    "source_clip_probability": 0.5,
}


def test_a_variant_is_the_request_with_other_fields() -> None:
    assert REQUEST.id  # which the variant must not take along
    for name, value in (OTHERS | RECORDED).items():
        changed: dict[str, Any] = {name: value}
        variant = REQUEST.variant(changed)
        assert variant == replace(REQUEST, **changed)
        assert (variant.id != REQUEST.id) == (name in OTHERS)
    with pytest.raises(TypeError, match="no field colour"):
        REQUEST.variant({"colour": "red"})


def test_every_field_either_decides_the_id_or_is_recorded_alone() -> None:
    assert OTHERS.keys() | RECORDED.keys() == GenerationRequest.__dataclass_fields__.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_what_decides_pixels_is_in_the_id(name: str) -> None:
    assert replace(REQUEST, **{name: OTHERS[name]}).id != REQUEST.id  # type: ignore[arg-type]


@pytest.mark.parametrize("name", RECORDED)
def test_what_decides_no_pixel_is_not_in_the_id(name: str) -> None:
    assert replace(REQUEST, **{name: RECORDED[name]}).id == REQUEST.id  # type: ignore[arg-type]


def test_the_id_is_pinned_so_that_new_fields_change_none() -> None:
    assert REQUEST.id == "f7bc38046badc93af39a"


@pytest.mark.parametrize(
    "change",
    [
        {"adapter_file": "other.bin"},
        {"scheduler": "unipc"},
        {"vae": "other"},
        {"lora": "other"},
        {"lora_scale": 0.5},
        {"steps": 7},
        {"guidance_scale": 2.0},
        {"guidance_interval": (0.2, 0.8)},
        {"size": 256},
        {"noise_schedule": None},
    ],
)
def test_whatever_decides_pixels_is_in_the_fingerprint(change: dict[str, object]) -> None:
    preset = PRESETS["sd15"]
    other = replace(preset, **change)  # type: ignore[arg-type]
    assert generator_fingerprint(other, {}) != generator_fingerprint(preset, {})


def test_folders_are_in_the_fingerprint_by_content_and_captions_are_not() -> None:
    here = replace(PRESETS["sd15"], model="here")
    there = replace(here, model="there", clip="x", prompt_prefix="y", negative_prompt="z")
    same = {"preset.model": "content 123"}
    assert generator_fingerprint(here, same) == generator_fingerprint(there, same)
    assert generator_fingerprint(here, same) != generator_fingerprint(here, {"preset.model": "content 456"})


def test_the_plan_names_the_generator() -> None:
    (request,) = make_plan([REQUEST], "digest").requests
    assert request == replace(REQUEST, generator="digest")


@pytest.mark.parametrize("change", [{"strength": 0.0}, {"strength": 1.5}, {"ip_adapter_scale": -1.0}])
def test_a_request_that_cannot_be_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make_plan([replace(REQUEST, **change)], "digest")  # type: ignore[arg-type]


def test_a_generator_that_lacks_what_a_method_needs_is_refused() -> None:
    needs = frozenset({Capability.IMAGE_PROMPT, Capability.CONCEPTS})
    with pytest.raises(UserError, match=r"x needs concepts \(.+\) and image-prompt, which the model 'y'"):
        refuse_incapable("x", needs, "y", frozenset({Capability.EDIT}))
    refuse_incapable("x", needs, "y", needs | {Capability.EDIT})


def test_the_next_seed_changes_nothing_else() -> None:
    other = with_next_seed(REQUEST)
    assert other.seed != REQUEST.seed
    assert replace(other, seed=REQUEST.seed) == REQUEST


def test_a_request_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="dalda requests the same image twice: car, index 0, seed 1"):
        make_plan([REQUEST, replace(REQUEST, source=Path("b.png"))], "digest")


def test_whole_and_broken_numbers_of_one_value_are_one_request() -> None:
    whole = replace(REQUEST, guidance_scale=3, ip_adapter_scale=1, strength=1)
    broken = replace(REQUEST, guidance_scale=3.0, ip_adapter_scale=1.0, strength=1.0)
    of_numpy = replace(whole, ip_adapter_scale=np.float32(1), index=np.int64(0))  # type: ignore[arg-type]
    (one,), (other,), (third,) = (make_plan([x], "d").requests for x in (whole, broken, of_numpy))
    assert one.id == other.id == third.id
    assert isinstance(third.ip_adapter_scale, float)


def test_a_batch_has_one_number_of_steps_and_one_guidance_scale() -> None:
    changes = [(30, 7.5), (30, 7.5), (20, 7.5), (20, 3.0), (20, 3.0), (20, 3.0)]
    requests = [
        replace(REQUEST, index=index, steps=steps, guidance_scale=scale)
        for index, (steps, scale) in enumerate(changes)
    ]
    batches = list(Batches(requests, {request.id for request in requests}, 4))
    assert [len(batch) for batch in batches] == [2, 1, 1, 2]
    assert [request for batch in batches for request in batch] == requests
    assert list(Batches(requests, {requests[2].id}, 4)) == [(requests[2],)]
