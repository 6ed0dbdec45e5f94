"""Diff-Mix and Diff-Aug: published numbers, soft labels, targets."""

import pytest
from tests.methods.test_base import images_of, requests_of

from dalda.errors import UserError
from dalda.methods.diff_mix import DiffMix, DiffMixOptions, soft_label
from dalda.methods.fitting.recipe import FitJob, Recipe
from dalda.models.concepts import Concept


def test_the_published_numbers() -> None:
    """arXiv 2403.19600: rank 10, 5e-5, 35 000 steps, guidance 7.5, 25 steps, gamma 0.8, replacement 0.1."""
    options = DiffMixOptions()
    assert (options.rank, options.rate, options.fit_steps, options.fit_batch_size) == (10, 5e-5, 35_000, 8)
    assert (options.guidance_scale, options.steps, options.gamma) == (7.5, 25, 0.8)
    assert options.strengths == (0.3, 0.5, 0.7, 0.9)
    assert (DiffMix.defaults.mixing, DiffMix.defaults.synthetic_probability) == ("global-replacement", 0.1)


@pytest.mark.parametrize("name", ["diff-mix", "diff-aug"])
def test_tokens_and_a_lora_are_learned_together_from_the_whole_set(name: str) -> None:
    jobs: list[FitJob] = []
    requests_of(images_of(4), name, jobs=jobs)
    (job,) = jobs
    assert job.recipe == Recipe(
        35_000, 8, ("a photo of a {}",), vectors=1, token_rate=5e-5, rank=10, lora_rate=5e-5
    )
    assert (job.recipe.schedule, job.recipe.warmup, job.recipe.flip) == ("constant", 0, 0.5)
    assert {image.sha256 for image in job.images} == {f"hash{n}" for n in range(4)}


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("gamma", [0.5, 0.8, 1.0])
def test_a_soft_label_sums_to_one_and_at_strength_1_is_the_target(strength: float, gamma: float) -> None:
    label = dict(soft_label("car", "tree", strength, gamma))
    assert sum(label.values()) == pytest.approx(1)
    assert label["tree"] == pytest.approx(strength**gamma)
    if strength == 1:
        assert label == {"tree": 1.0}
    if (strength, gamma) == (0.8, 0.8):
        assert label == pytest.approx({"car": 0.1635, "tree": 0.8365}, abs=1e-4)


def test_an_image_is_led_to_another_class_and_labelled_by_its_strength() -> None:
    requests = requests_of(images_of(4), "diff-mix", per_image=20)
    sources = {"hash0": "car", "hash1": "tree", "hash2": "car", "hash3": "tree"}
    for request in requests:
        assert request.strength is not None
        own, label = sources[request.source_sha256], dict(request.soft_label)
        (target,) = {"car", "tree"} - {own}
        assert label[target] == pytest.approx(request.strength**0.8)
        assert request.label == max(label, key=lambda name: label[name])
        assert (request.source_label or request.label) == own
        concept = Concept.read(str(request.concept))
        assert concept.token is not None
        assert (concept.token.number, len(concept.loras)) == (["car", "tree"].index(target), 1)
    assert {request.label == sources[request.source_sha256] for request in requests} == {True, False}


def test_at_full_strength_the_label_is_the_target_alone() -> None:
    for request in requests_of(images_of(2), "diff-mix", strengths=(1.0,)):
        assert (request.soft_label, request.source_label != request.label) == ((), True)
        assert request.source_label


def test_towards_the_own_class_the_label_stays() -> None:
    for request in requests_of(images_of(4), "diff-aug"):
        assert (request.soft_label, request.source_label) == ((), "")


def test_one_class_is_one_sentence() -> None:
    with pytest.raises(UserError, match="diff-mix mixes two classes and the data set has images of one"):
        requests_of(images_of(1), "diff-mix")
