"""DataDream and LoFT: published numbers, and which LoRAs an image has."""

from typing import Any

import pytest
from tests.methods.test_base import images_of, requests_of

from dalda.errors import UserError
from dalda.methods.datadream import DataDream, DataDreamOptions, recipe_for
from dalda.models.concepts import Concept


def test_the_published_numbers_of_datadream() -> None:
    """arXiv 2407.10910: rank 16, 1e-4 by a cosine, 200 epochs, batches of 8, guidance 2, 0.8 and 0.2."""
    options = DataDreamOptions()
    recipe = recipe_for(options, 16)
    assert (recipe.rank, recipe.lora_rate, recipe.batch_size, recipe.steps) == (16, 1e-4, 8, 400)
    assert (recipe.schedule, recipe.warmup, recipe.text_encoder, recipe.vectors) == ("cosine", 100, True, 0)
    assert (options.guidance_scale, options.steps) == (2.0, 50)
    assert (DataDream.defaults.mixing, DataDream.defaults.synthetic_probability) == ("two-term-loss", 0.2)


def test_the_published_numbers_of_loft() -> None:
    """arXiv 2505.11703: an image each, rank 2, 1e-3, 600 epochs, warm-up 10, UNet alone, one half each."""
    options = DataDreamOptions(scope="image")
    recipe = recipe_for(options, 1)
    assert (recipe.rank, recipe.lora_rate, recipe.batch_size, recipe.steps) == (2, 1e-3, 1, 600)
    assert (recipe.warmup, recipe.text_encoder, options.share) == (10, False, 0.5)


def loras_of(**options: Any) -> dict[str, set[tuple[tuple[str, float], ...]]]:
    found: dict[str, set[tuple[tuple[str, float], ...]]] = {}
    for request in requests_of(images_of(6), "datadream", **options):
        assert request.strength is None
        assert request.prompt == f"a photo of a {request.label}"
        found.setdefault(request.label, set()).add(Concept.read(str(request.concept)).loras)
    return found


def test_a_lora_for_each_class_or_for_the_data_set() -> None:
    of_class = loras_of()
    assert {len(found) for found in of_class.values()} == {1}
    assert of_class["car"] != of_class["tree"]
    whole = loras_of(scope="dataset")
    assert whole["car"] == whole["tree"]


def test_two_loras_of_images_of_the_class_at_one_half_each() -> None:
    found = loras_of(scope="image", per_image=9)
    jobs = {name: {job for loras in pairs for job, _ in loras} for name, pairs in found.items()}
    assert {len(of_class) for of_class in jobs.values()} == {3}
    assert not jobs["car"] & jobs["tree"]
    assert {share for pairs in found.values() for loras in pairs for _, share in loras} == {0.5}
    assert all(first != second for pairs in found.values() for (first, _), (second, _) in pairs)


def test_one_image_a_class_is_no_pair_and_one_sentence() -> None:
    with pytest.raises(
        UserError, match="LoRAs of two images of a class with scope=image, and 'car' has one"
    ):
        requests_of(images_of(2), "datadream", scope="image")
    alone = requests_of(images_of(2), "datadream", scope="image", share=1.0)
    assert {len(Concept.read(str(request.concept)).loras) for request in alone} == {1}
