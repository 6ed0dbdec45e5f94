"""The original code's protocol, against METHOD.md written once more."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from dalda.compat.protocol import half_normalized, run_as_original
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.features import FeatureStore, OpenImage
from dalda.evaluation.trial import Schedule, Trial
from dalda.seeding import generator_of, seed_of
from dalda.types import FewShotSplit, SyntheticImage

SHORT = Schedule(epochs=2, iterations=3, batch=4)
SHAPES = ((24, 33), (40, 20), (48, 48))
"""Wide, tall, and square, all larger than the 16 pixels that the model sees."""


@pytest.fixture(scope="module")
def trial(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> Trial:
    split = make_split("train", 2, 6, SHAPES)
    return Trial("dalda", 3, split, make_synthetic(split, 3, SHAPES))


def independent(trial: Trial, validation: FewShotSplit, backbone: ClipBackbone) -> dict[str, list[float]]:
    """The loop, item by item: losses and hits of both parts, epoch by epoch, in order of drawing."""
    classes = trial.split.classes
    real = [(one.path, classes.index(one.label), one.sha256) for one in trial.split.images]
    rng, turns = generator_of(trial.seed, "draws"), generator_of(trial.seed, "exact views")
    which, coin = rng.integers(len(real), size=(6, 4)), rng.random((6, 4))
    pick = rng.random((6, 4))
    sample = generator_of(trial.seed, "validation sample").integers(len(validation.images), size=(2, 12))

    def squeezed(path: Path) -> Image.Image:
        return Image.open(path).resize((16, 16), Image.Resampling.BILINEAR)

    def encode(image: Image.Image) -> torch.Tensor:
        pixels = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)[None]
        model = backbone.model
        return model.visual_projection(model.vision_model((pixels - 0.5) / 0.5).pooler_output)  # type: ignore

    texts = backbone.text_features(classes)
    head = torch.nn.Linear(texts.shape[1], len(texts))
    with torch.no_grad():
        head.weight.copy_(texts)
        # As torch starts it, from this trial's own seed, after as many numbers as weights.
        drawn = torch.Generator().manual_seed(seed_of(trial.seed, "head"))
        bound = texts.shape[1] ** -0.5
        torch.empty(texts.shape).uniform_(-bound, bound, generator=drawn)
        head.bias.uniform_(-bound, bound, generator=drawn)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-4, weight_decay=0.1)
    found: dict[str, list[float]] = {"training": [], "validation": []}
    for step in range(6):
        features, labels = [], []
        for slot in range(4):
            path, label, sha = real[which[step, slot]]
            copies = [one.path for one in trial.synthetic if one.source_sha256 == sha]
            if coin[step, slot] < 0.5:
                path = copies[int(pick[step, slot] * len(copies))]
            image = squeezed(path)
            if turns.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            features.append(encode(image.rotate(turns.uniform(-15, 15), Image.Resampling.NEAREST)))
            labels.append(label)
        each = cross_entropy(head(torch.cat(features).detach()), torch.tensor(labels), reduction="none")
        found["training"] += each.tolist()
        optimizer.zero_grad()
        each.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 3 == 2:
            for number in sample[step // 3]:
                one = validation.images[number]
                logits = head(encode(squeezed(one.path)))
                loss = cross_entropy(logits, torch.tensor([classes.index(one.label)]))
                found["validation"].append(loss.item())
    return found


def test_every_loss_is_that_of_the_loop_written_again(
    trial: Trial, backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit]
) -> None:
    validation = make_split("val", 5, 6, SHAPES)
    store = FeatureStore(backbone, open_image, views=1)
    result, curves = run_as_original(trial, validation, store, SHORT)
    expected = independent(trial, validation, backbone)
    counts = {"training": _counts(trial, None), "validation": _counts(trial, validation)}
    for part, losses in (("training", curves.training_loss), ("validation", curves.validation_loss)):
        for epoch in range(2):
            total = float(np.nansum(losses[epoch] * counts[part][epoch]))
            assert total == pytest.approx(sum(expected[part][12 * epoch : 12 * epoch + 12]), rel=1e-3)
    assert result.accuracy == pytest.approx(np.nanmean(curves.validation_accuracy[-1]))
    assert len(result.right) == len(validation.images)
    again, same = run_as_original(trial, validation, store, SHORT)
    assert repr(again) == repr(result)
    np.testing.assert_array_equal(same.validation_loss, curves.validation_loss)


def _counts(
    trial: Trial, validation: FewShotSplit | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """How many images of each class were drawn in each epoch, [epochs, classes]."""
    if validation is None:
        rows = trial.labels[trial.draws(SHORT).images].reshape(2, 12)
    else:
        labels = np.array([validation.classes.index(one.label) for one in validation.images])
        drawn = generator_of(trial.seed, "validation sample").integers(len(labels), size=(2, 12))
        rows = labels[drawn]
    return np.stack([np.bincount(row, minlength=3) for row in rows])


def test_values_run_from_minus_one_to_one_on_a_square() -> None:
    image = Image.fromarray(np.array([[[0, 255, 127]] * 6] * 3, np.uint8))
    pixels = half_normalized([image], 4)
    assert pixels.shape == (1, 3, 4, 4)
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([-1, 1, -1 / 255], abs=1e-6)
