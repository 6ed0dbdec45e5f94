from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalda.models.clip import Clip, class_probabilities
from dalda.models.presets import located, preset_named


@pytest.fixture(scope="module")
def scorer() -> Clip:
    return Clip.load(located(preset_named("doodle").clip))


@pytest.fixture(scope="module")
def images() -> dict[Path, Image.Image]:
    rng = np.random.default_rng(0)
    return {
        Path(f"{number}.png"): Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
        for number in range(70)
    }


def test_probabilities_are_the_softmax_of_scaled_cosines() -> None:
    images, texts = 3 * torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [6.0, 8.0]])
    expected = np.exp([10.0, 0.0, 6.0]) / np.exp([10.0, 0.0, 6.0]).sum()
    assert class_probabilities(images, texts, 10.0)[0] == pytest.approx(expected, rel=1e-5)


def test_the_score_is_the_chance_of_the_true_class(scorer: Clip, images: dict[Path, Image.Image]) -> None:
    names = ["boat", "car", "hourglass"]
    path = Path("0.png")
    by_class = [next(scorer.scores([(path, number)], names, images.__getitem__)) for number in range(3)]
    assert sum(by_class) == pytest.approx(1, abs=2e-5)
    assert all(value == round(value, 5) for value in by_class)


def test_a_score_depends_on_the_list_of_classes(scorer: Clip, images: dict[Path, Image.Image]) -> None:
    item = [(Path("1.png"), 0)]
    two = next(scorer.scores(item, ["boat", "car"], images.__getitem__))
    three = next(scorer.scores(item, ["boat", "car", "tree"], images.__getitem__))
    assert three < two


def test_scores_do_not_depend_on_their_batch(scorer: Clip, images: dict[Path, Image.Image]) -> None:
    names = ["boat", "car"]
    items = [(path, number % 2) for number, path in enumerate(images)]
    together = list(scorer.scores(items, names, images.__getitem__))
    alone = [next(scorer.scores([item], names, images.__getitem__)) for item in items[60:]]
    assert together[60:] == pytest.approx(alone, abs=2e-5)
