"""Classical augmentation, and training with heads on cached features, on a random CLIP."""

from collections.abc import Callable

import numpy as np
import pytest

from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.features import FeatureStore, OpenImage
from dalda.evaluation.heads.rows import feature_rows, mixed_rows
from dalda.evaluation.heads.table import HEADS
from dalda.evaluation.training import TrainingMethod, predict_probabilities, run_trials
from dalda.evaluation.trial import Schedule, Trial
from dalda.types import FewShotSplit, SyntheticImage


@pytest.fixture(scope="module")
def store(backbone: ClipBackbone, open_image: OpenImage) -> FeatureStore:
    return FeatureStore(backbone, open_image, views=2)


@pytest.mark.parametrize("head", [*HEADS, "linear"])
def test_every_head_learns_the_colours(
    head: str, store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    split, validation = make_split("train", 3), make_split("val", 5)
    trial = Trial("real", 0, split, head=head)
    (result,) = run_trials([trial], validation, store)
    # A random CLIP's texts say nothing, and the constrained head stays near them.
    assert result.accuracy > (0.2 if head in ("zero-shot", "constrained") else 0.7)
    assert run_trials([trial], validation, store) == [result]
    if head not in ("linear", "zero-shot", "constrained"):
        predicted = predict_probabilities(trial, split.images, store, Schedule(), head).argmax(1)
        assert [split.classes[number] for number in predicted] == [image.label for image in split.images]


def test_synthetic_rows_belong_to_their_source_and_weigh_what_the_mixing_says(
    store: FeatureStore,
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
) -> None:
    split = make_split("train", 2)
    rows = feature_rows(
        Trial("dalda", 0, split, make_synthetic(split, 3), synthetic_probability=0.4), store
    )
    assert rows.features.shape == ((6 + 18) * 2, 24)
    assert rows.weights[rows.real].sum() == pytest.approx(0.6)
    assert np.bincount(rows.sources[:, 0]).tolist() == [8] * 6
    other = feature_rows(Trial("dalda", 1, split, make_synthetic(split, 3)), store)
    assert not np.array_equal(rows.features, other.features)  # other seeds see other views


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_mixed_image_belongs_to_both_of_its_images(
    name: str, store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    split = make_split("train", 2)
    trial = Trial("real", 0, split)
    rows = mixed_rows(trial, store, name)
    mixed = ~rows.real
    assert rows.weights[mixed].sum() == pytest.approx(0.5)
    np.testing.assert_allclose(rows.targets.sum(1), 1)
    labels = trial.labels[rows.sources[mixed]]
    pure = labels[:, 0] == labels[:, 1]
    assert not pure.all()
    np.testing.assert_allclose(rows.targets[mixed].max(1)[pure], 1)
    taken = np.take_along_axis(rows.targets[mixed], labels, 1)
    np.testing.assert_allclose(taken[~pure].sum(1), 1)


def test_the_augmentation_is_chosen_without_a_validation_image(
    store: FeatureStore, make_split: Callable[..., FewShotSplit], capsys: pytest.CaptureFixture[str]
) -> None:
    split = make_split("train", 3)
    trial = Trial("real-augmented", 0, split, head="constrained", classical=True)
    first = run_trials([trial], make_split("val", 5), store)[0]
    choice = [line for line in capsys.readouterr().err.splitlines() if "by cross-validation" in line]
    assert len(choice) == 1
    second = run_trials([trial], make_split("val", 4, seed=3), store)[0]
    assert choice[0] in capsys.readouterr().err  # other validation images, the same choice
    assert len(first.right) == 15
    assert len(second.right) == 12


def test_one_image_a_class_gets_trivial_augment(
    store: FeatureStore, make_split: Callable[..., FewShotSplit], capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Trial("real-augmented", 0, make_split("train", 1), classical=True)
    (result,) = run_trials(
        [trial], make_split("val", 5), store, method=TrainingMethod(head="cross-validated")
    )
    assert "by cross-validation" not in capsys.readouterr().err
    assert result.accuracy > 0.5
