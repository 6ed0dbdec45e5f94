from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dalda.errors import UserError
from dalda.evaluation.mixing import WAYS, Pool, draw_indices, pool_of, shares_of
from dalda.types import FewShotSplit, SyntheticImage


def shares(way: str, pool: Pool, probability: float) -> NDArray[np.float64]:
    """How often each image of the pool is drawn."""
    drawn = draw_indices(way, np.random.default_rng(0), pool, 2000, 30, probability).images
    return np.bincount(drawn.ravel(), minlength=pool.real + pool.synthetic) / drawn.size


def test_half_of_the_draws_are_copies_of_the_drawn_image_at_random() -> None:
    # Copies of the three real images, in no order: image 0 has one, image 1 three, image 2 none.
    pool = Pool(3, np.array([1, 0, 1, 1]))
    share = shares("per-image-replacement", pool, 0.5)
    expected = np.array([1 / 6, 1 / 6, 1 / 3, 1 / 18, 1 / 6, 1 / 18, 1 / 18])
    np.testing.assert_allclose(share, expected, atol=0.005)


@given(st.integers(1, 5), st.lists(st.integers(0, 4), max_size=12), st.floats(0, 1), st.integers(0, 2**32))
def test_arms_of_one_seed_draw_the_same_real_images(
    real: int, sources: list[int], probability: float, seed: int
) -> None:
    source = np.array([number % real for number in sources], dtype=np.int64)
    mixed = draw_indices(
        "per-image-replacement", np.random.default_rng(seed), Pool(real, source), 5, 7, probability
    ).images
    plain = draw_indices(
        "per-image-replacement", np.random.default_rng(seed), Pool(real, source[:0]), 5, 7, probability
    ).images
    origin = np.concatenate([np.arange(real), source])
    np.testing.assert_array_equal(origin[mixed], plain)


@pytest.mark.parametrize(("probability", "smallest", "largest"), [(0.0, 0, 1), (1.0, 2, 5)])
def test_the_ends_of_the_probability(probability: float, smallest: int, largest: int) -> None:
    pool = Pool(2, np.array([0, 0, 1, 1]))
    drawn = draw_indices(
        "per-image-replacement", np.random.default_rng(1), pool, 50, 10, probability
    ).images
    assert (drawn.min(), drawn.max()) == (smallest, largest)


@pytest.mark.parametrize(
    ("way", "real", "synthetic"),
    [
        ("global-replacement", 0.7, 0.3),
        ("concatenation", 1 / 3, 2 / 3),
        ("synthetic-only", 0, 1),
        ("two-term-loss", 0.5, 0.5),
    ],
)
def test_other_ways_draw_evenly_within_real_and_within_synthetic(
    way: str, real: float, synthetic: float
) -> None:
    found = shares(way, Pool(2, np.array([0, 0, 0, 1])), 0.3)
    expected = [real / 2] * 2 + [synthetic / 4] * 4
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_the_two_terms_weigh_as_the_probability_says() -> None:
    # An odd batch: two synthetic images and three real ones, yet the terms weigh 0.2 and 0.8.
    drawn = draw_indices("two-term-loss", np.random.default_rng(0), Pool(3, np.array([0, 1])), 10, 5, 0.2)
    made = drawn.images >= 3
    assert made.sum(1).tolist() == [2] * 10
    np.testing.assert_allclose((drawn.weights * made).sum(1) / 5, 0.2, rtol=1e-6)
    np.testing.assert_allclose((drawn.weights * ~made).sum(1) / 5, 0.8, rtol=1e-6)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "synthetic-only"])
def test_without_synthetic_images_every_way_is_plain_training(way: str) -> None:
    drawn = draw_indices(way, np.random.default_rng(0), Pool(4, np.empty(0, np.int64)), 20, 8, 0.9)
    assert (drawn.images.min(), drawn.images.max(), drawn.weights.min()) == (0, 3, 1)


def test_what_cannot_be_blended_is_one_sentence() -> None:
    generator, pool = np.random.default_rng(0), Pool(1, np.array([0]))
    with pytest.raises(UserError, match="between 0 and 1"):
        draw_indices("per-image-replacement", generator, pool, 1, 1, 1.5)
    with pytest.raises(UserError, match="use one of per-image"):
        draw_indices("stir", generator, pool, 1, 1, 0.5)
    with pytest.raises(UserError, match="no synthetic image"):
        draw_indices("synthetic-only", generator, Pool(1, np.empty(0, np.int64)), 1, 1, 0.5)


def test_samples_find_their_source_by_content(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    split = make_split("train", 2)
    synthetic = make_synthetic(split, 2)
    fewer = split.images[1:]
    pool, kept = pool_of(fewer, synthetic[::-1])
    assert (pool.real, pool.synthetic) == (5, 10)
    for sample, source in zip(kept, pool.source, strict=True):
        assert fewer[source].sha256 == sample.source_sha256


def test_of_two_equal_images_the_first_has_the_copies(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    split = make_split("train", 1)
    twice = [split.images[0], *split.images, replace(split.images[0], label="blue")]
    pool, _ = pool_of(twice, make_synthetic(split, 1))
    assert pool.source.tolist() == [0, 2, 3]


def test_a_synthetic_folder_of_another_data_set_is_refused(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    split = make_split("train", 2)
    synthetic = make_synthetic(split, 1)
    with pytest.raises(UserError, match="None of the 6 synthetic images"):
        pool_of(make_split("train", 2, seed=9).images, synthetic)
    with pytest.raises(UserError, match="belongs to another data set"):
        pool_of(split.images, [replace(synthetic[0], label="blue")])


def test_a_batch_of_one_image_has_no_two_terms() -> None:
    """It would be real in silence; without synthetic images it is real in any case."""
    with pytest.raises(UserError, match="--batch-size 2"):
        draw_indices("two-term-loss", np.random.default_rng(0), Pool(2, np.array([0])), 3, 1, 0.5)
    alone = Pool(2, np.array([], dtype=np.int64))
    assert draw_indices("two-term-loss", np.random.default_rng(0), alone, 3, 1, 0.5).images.max() < 2


@pytest.mark.parametrize("way", sorted(WAYS))
def test_shares_are_what_many_draws_show(way: str) -> None:
    pool = Pool(3, np.array([0, 0, 1, 0]))
    draws = draw_indices(way, np.random.default_rng(0), pool, 4000, 8, 0.4)
    counted = np.bincount(draws.images.ravel(), weights=draws.weights.ravel(), minlength=7)
    np.testing.assert_allclose(shares_of(way, pool, 0.4), counted / counted.sum(), atol=0.01)
