from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.evaluation import trial
from dalda.evaluation.trial import Trial, image_file, result_of
from dalda.types import FewShotSplit, SyntheticImage


def test_an_image_is_hashed_once_until_it_changes(
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = make_split("train", 1)
    first, second, *_ = make_synthetic(split, 1)
    path = tmp_path / "made.png"
    path.write_bytes(first.path.read_bytes())
    sample = replace(first, path=path)
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    with monkeypatch.context() as patch:
        patch.setattr(trial, "sha256_of", counting)
        assert {image_file(sample).sha256 for _ in range(3)} == {sha256_of(first.path)}
    assert read == [path]
    path.write_bytes(second.path.read_bytes())
    assert image_file(sample).sha256 == sha256_of(second.path)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        image_file(sample)
    example = split.images[0]
    assert image_file(example).sha256 == example.sha256


def test_a_training_that_diverged_gives_no_numbers(make_split: Callable[..., FewShotSplit]) -> None:
    split = make_split("train", 1)
    probabilities = np.full((len(split.images), len(split.classes)), np.nan)
    with pytest.raises(UserError, match="arm, seed 3, diverged"):
        result_of(Trial("arm", 3, split), split, probabilities, [])


def test_the_accuracy_of_each_class_counts_its_own_images(make_split: Callable[..., FewShotSplit]) -> None:
    split = make_split("train", 3)
    uneven = replace(split, images=split.images[:5] + split.images[6:7])  # 3 red, 2 green, 1 blue
    probabilities = np.eye(3)[[0, 0, 1, 1, 1, 0]]
    result = result_of(Trial("arm", 0, split), uneven, probabilities, [])
    assert result.class_accuracy == (2 / 3, 1.0, 0.0)
    assert result.confusion == ((2, 1, 0), (0, 2, 0), (1, 0, 0))


def test_a_soft_label_is_shared_by_two_classes(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    split = make_split("train", 1)
    soft = (("green", 0.25), ("blue", 0.75))
    images = [replace(make_synthetic(split, 1)[0], label="blue", source_label="red", soft_label=soft)]
    trial = Trial("mix", 0, split, tuple(images))
    numbers, shares = trial.targets
    assert numbers.tolist() == [[0, 0], [1, 1], [2, 2], [1, 2]]
    assert shares.tolist() == [[1, 0], [1, 0], [1, 0], [0.25, 0.75]]
    hard = replace(trial, soft_labels=False).targets
    assert (hard[0].tolist(), hard[1].tolist()) == ([[0], [1], [2], [2]], [[1]] * 4)
    wrong = replace(trial, synthetic=(replace(images[0], soft_label=(("green", 0.5),)),))
    with pytest.raises(UserError, match="must sum to one"):
        _ = wrong.targets


def test_a_replayed_real_image_has_the_weight_of_its_own_place(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    split = make_split("train", 1)
    copies = (replace(x, path=split.images[0].path) for x in make_synthetic(split, 2)[:2])
    trial = Trial("replay", 0, split, tuple(copies), mixing="concatenation", sample_weights=(0.5, 1.5))
    assert trial.shares.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.3])
