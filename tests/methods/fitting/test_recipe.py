"""Recipes: what a model that learns in few steps makes of a published training."""

from dataclasses import replace

import pytest

from dalda.methods.da_fusion import RECIPES
from dalda.methods.fitting.recipe import MOST_STEPS, Recipe, with_fewer_steps


def test_a_shortened_training_has_higher_rates_by_the_root_of_the_steps() -> None:
    published = replace(RECIPES["repo"], lora_rate=1e-4, warmup=100)
    short = with_fewer_steps(published, 10)
    assert (short.steps, short.warmup) == (10, 1)
    assert [short.token_rate, short.lora_rate] == pytest.approx([2e-2, 1e-3])
    decided = {"steps": 1000, "warmup": 100, "token_rate": published.token_rate, "lora_rate": 1e-4}
    assert replace(short, **decided) == published  # type: ignore[arg-type]


def test_a_training_that_is_short_stays_as_it_is() -> None:
    recipe = Recipe(60, 4, ("a photo of a {}",), vectors=1, token_rate=1e-3)
    assert with_fewer_steps(recipe, 60) is recipe


def test_only_the_model_of_the_embedded_world_shortens() -> None:
    assert set(MOST_STEPS) == {"doodle"}
