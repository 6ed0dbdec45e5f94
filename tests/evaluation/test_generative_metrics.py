from collections.abc import Callable
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from prdc import compute_prdc  # type: ignore[import-untyped]
from scipy.spatial.distance import cdist, pdist
from torchmetrics.image.kid import poly_mmd
from vendi_score import vendi  # type: ignore[import-untyped]

from dalda.errors import UserError
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.features import FeatureStore, OpenImage
from dalda.evaluation.generative_metrics import (
    Features,
    clip_measures,
    cmmd,
    density_and_coverage,
    kid,
    mean_distance,
    measure,
    measure_set,
    nearest_real,
    vendi_score,
)
from dalda.models.clip import class_probabilities
from dalda.types import FewShotSplit, SyntheticImage

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(40, 8))
MADE = RNG.normal(size=(30, 8)) * 0.8 + 0.3
LABELS = np.zeros(30, dtype=np.int64)


def test_density_and_coverage_are_prdcs() -> None:
    wanted = compute_prdc(REAL, MADE, nearest_k=5)
    assert density_and_coverage(REAL, MADE) == pytest.approx((wanted["density"], wanted["coverage"]))


def test_vendi_score_is_vendi_scores() -> None:
    assert vendi_score(MADE) == pytest.approx(vendi.score_dual(MADE))
    assert vendi_score(MADE[:5]) == pytest.approx(vendi.score_dual(MADE[:5]))
    assert vendi_score(np.tile(MADE[:1], (6, 1))) == pytest.approx(1)
    assert vendi_score(np.eye(7)) == pytest.approx(7)


def test_kid_is_torchmetrics() -> None:
    """torchmetrics compares sets of one size only; of all sets that lack one image, ours is the mean."""
    real, made = torch.from_numpy(REAL[:31]), torch.from_numpy(MADE)
    parts = [torch.cat([real[:lacking], real[lacking + 1 :]]) for lacking in range(31)]
    wanted = np.mean([float(poly_mmd(part, made)) for part in parts])
    assert kid(REAL[:31], MADE) == pytest.approx(wanted, rel=1e-5)
    assert kid(MADE, REAL[:31]) == pytest.approx(wanted, rel=1e-5)
    assert kid(REAL[:30], MADE) == pytest.approx(float(poly_mmd(parts[30], made)), rel=1e-5)


def test_kid_is_its_definition_for_sets_of_any_sizes() -> None:
    """The unbiased estimate: a mean over all pairs of different images, within and between."""

    def mean(first: Features, second: Features, *, different: bool) -> float:
        pairs = [
            (float(a @ b) / 8 + 1) ** 3
            for i, a in enumerate(first)
            for j, b in enumerate(second)
            if not (different and i == j)
        ]
        return float(np.mean(pairs))

    real, made = REAL, MADE[:7]
    wanted = mean(real, real, different=True) + mean(made, made, different=True)
    assert kid(real, made) == pytest.approx(wanted - 2 * mean(real, made, different=False))


def test_cmmd_is_its_definition() -> None:
    def unit(row: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
        return list(row / np.sqrt((row**2).sum()))

    def mean(first: list[list[float]], second: list[list[float]]) -> float:
        values = [
            np.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / 200)
            for x in first
            for y in second
        ]
        return float(np.mean(values))

    real, made = [unit(row) for row in REAL[:6]], [unit(row) for row in MADE[:4]]
    wanted = 1000 * (mean(real, real) + mean(made, made) - 2 * mean(real, made))
    assert cmmd(REAL[:6], MADE[:4]) == pytest.approx(wanted)


def test_the_same_images_are_faithful_copies() -> None:
    found = measure(REAL, REAL, np.zeros(40, np.int64), None)
    assert found.cmmd == pytest.approx(0, abs=1e-9)
    assert (found.near_duplicates, found.coverage) == (1.0, 1.0)
    far = measure(REAL, REAL + 100, np.zeros(40, np.int64), None)
    assert far.kid > found.kid + 1
    assert (far.coverage, far.near_duplicates) == (0.0, 0.0)


def test_off_class_images_are_those_that_clip_puts_in_another_class() -> None:
    texts = np.eye(3)
    unit = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    probabilities = class_probabilities(unit, texts, 2.0)
    sure = np.exp(2) / (np.exp(2) + 2)
    doubtful = np.exp(1.2) / (np.exp(1.2) + np.exp(1.6) + 1)
    score, off_class = clip_measures(np.array([0, 0, 2]), probabilities)
    assert (score, off_class) == pytest.approx(((2 * sure + doubtful) / 3, 1 / 3))
    assert np.isnan(clip_measures(np.array([0]), None)).all()


def test_the_mean_distance_and_the_nearest_are_those_of_all_pairs() -> None:
    assert mean_distance(MADE) == pytest.approx(pdist(MADE, "cosine").mean())
    cosines = 1 - cdist(MADE, REAL, "cosine")
    places, nearest = nearest_real(REAL, MADE)
    np.testing.assert_array_equal(places, cosines.argmax(1))
    np.testing.assert_allclose(nearest, cosines.max(1))


def test_rows_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(REAL, MADE, LABELS, None)
    monkeypatch.setattr("dalda.evaluation.generative_metrics.ROWS_AT_ONCE", 7)
    parts = measure(REAL, MADE, LABELS, None)
    assert astuple(parts) == pytest.approx(astuple(whole), nan_ok=True)


class WithoutText:
    """A CLIP's image features alone."""

    def __init__(self, clip: ClipBackbone) -> None:
        self.name, self.fingerprint, self.extract = clip.name, clip.fingerprint, clip.extract
        self.size, self.dimensions = clip.size, clip.dimensions


def test_of_large_sets_a_fixed_sample_is_compared_by_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dalda.evaluation.generative_metrics.MOST_PAIRED", 20)
    found = measure(REAL, MADE, LABELS, None)
    again = measure(REAL, MADE, LABELS, None)
    assert astuple(again) == pytest.approx(astuple(found), nan_ok=True)
    assert found.kid != kid(REAL, MADE)
    assert found.kid == pytest.approx(kid(REAL, MADE), abs=1)
    assert (found.vendi_score, found.synthetic_images) == (vendi_score(MADE), 30)


def test_a_set_is_measured_overall_and_by_class(
    backbone: ClipBackbone,
    open_image: OpenImage,
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
) -> None:
    split, store = make_split("train", 7), FeatureStore(backbone, open_image)
    synthetic = make_synthetic(split, 2)
    found = measure_set(split, synthetic, store)
    overall, classes = found.overall, found.classes
    assert list(classes) == ["red", "green", "blue"]
    assert (overall.synthetic_images, classes["red"].synthetic_images) == (42, 14)
    assert overall.off_class == pytest.approx(np.mean([one.off_class for one in classes.values()]))
    assert overall.off_class == np.mean([look.is_off_class for look in found.images])
    assert overall.near_duplicates == np.mean([look.is_near_duplicate for look in found.images])
    blind = FeatureStore(WithoutText(backbone), open_image)
    assert measure_set(split, synthetic, blind, store).overall == overall
    few = measure_set(make_split("train", 1), synthetic[:1], store).overall
    assert np.isnan([few.kid, few.density, few.mean_distance]).all()
    with pytest.raises(UserError, match="no synthetic images"):
        measure_set(split, [], store)
    with pytest.raises(UserError, match="has not \\(grey\\)"):
        measure_set(split, [replace(synthetic[0], label="grey")], store)
