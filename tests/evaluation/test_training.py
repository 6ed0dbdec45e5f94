from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.backbones.load import as_backbone
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.evaluation.classifier import TrainedHead
from dalda.evaluation.features import FeatureStore, ImageFile, OpenImage
from dalda.evaluation.heads.linear import Heads
from dalda.evaluation.inputs import Batch
from dalda.evaluation.training import run_trials
from dalda.evaluation.trial import Schedule, Trial
from dalda.types import FewShotSplit, SyntheticImage, TrialResult

SHORT = Schedule(epochs=2, iterations=20, batch=8, learning_rate=0.01)


def run_trial(
    trial: Trial, validation: FewShotSplit, store: FeatureStore, schedule: Schedule
) -> TrialResult:
    return run_trials([trial], validation, store, schedule)[0]


@pytest.fixture(scope="module")
def store(backbone: ClipBackbone, open_image: OpenImage) -> FeatureStore:
    return FeatureStore(backbone, open_image, views=2)


def test_an_result_counts_every_validation_image(
    store: FeatureStore,
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    result = run_trial(Trial("dalda", 0, split, make_synthetic(split, 3)), validation, store, SHORT)
    assert len(result.right) == 15
    assert result.accuracy == pytest.approx(np.mean(result.right))
    assert result.class_accuracy == pytest.approx(np.reshape(result.right, (3, 5)).mean(1))
    assert (result.real_images, result.synthetic_images) == (6, 18)
    assert (result.arm, result.seed, result.shots) == ("dalda", 0, 2)
    assert result.accuracy > 0.8


def test_the_seed_decides(store: FeatureStore, make_split: Callable[..., FewShotSplit]) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    first = run_trial(Trial("real", 0, split), validation, store, SHORT)
    assert run_trial(Trial("real", 0, split), validation, store, SHORT) == first
    assert run_trial(Trial("real", 1, split), validation, store, SHORT).loss != first.loss


def test_trials_together_are_trials_alone(
    store: FeatureStore,
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    trials = [
        Trial("real", 0, split),
        Trial("dalda", 0, split, make_synthetic(split, 3)),
        Trial("dalda", 4, split, make_synthetic(split, 3)),
    ]
    together = run_trials(trials, validation, store, SHORT)
    alone = [run_trial(trial, validation, store, SHORT) for trial in trials]
    for one, other in zip(together, alone, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.right == other.right
    assert together[0].loss != pytest.approx(together[1].loss, abs=1e-5)
    assert run_trials([], validation, store) == []


def test_heads_are_trained_as_torch_trains_a_linear_layer() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(10, 2, 6, generator=generator).numpy()
    images = torch.randint(10, (30, 2, 4), generator=generator).numpy()
    views = torch.randint(2, (30, 2, 4), generator=generator).numpy()
    weights = torch.rand(30, 2, 4, generator=generator).numpy()
    starts = [(torch.randn(3, 6, generator=generator), torch.zeros(3)) for _ in range(2)]
    heads = Heads(starts, Schedule(), HeadRecipe())
    for step in range(30):
        features = torch.from_numpy(table[images[step], views[step]])
        targets = torch.from_numpy(images[step] % 3).unsqueeze(2)
        heads.step(Batch(features, targets, torch.from_numpy(weights[step] / 4).unsqueeze(2)))
    for number, (start, bias) in enumerate(starts):
        layer = torch.nn.Linear(6, 3)
        layer.load_state_dict({"weight": start, "bias": bias})
        optimizer = torch.optim.AdamW(layer.parameters(), lr=2e-4, weight_decay=0.1)
        for step in range(30):
            rows = images[step, number]
            logits = layer(torch.from_numpy(table[rows, views[step, number]]))
            each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(rows % 3), reduction="none")
            optimizer.zero_grad()
            (each * torch.from_numpy(weights[step, number])).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        torch.testing.assert_close(heads.weight[number], layer.weight)
        torch.testing.assert_close(heads.bias[number], layer.bias)


def test_the_last_epoch_is_reported_and_all_are_kept(
    store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    result = run_trial(Trial("real", 0, split), validation, store, replace(SHORT, epochs=4))
    assert len(result.epoch_accuracy) == 4
    assert result.epoch_accuracy[-1] == result.accuracy
    first = run_trial(Trial("real", 0, split), validation, store, replace(SHORT, epochs=1))
    assert first.epoch_accuracy == result.epoch_accuracy[:1]
    assert np.trace(result.confusion) == sum(result.right)
    assert np.sum(result.confusion, axis=1).tolist() == [5, 5, 5]


def test_an_image_that_is_not_trusted_is_not_learned(
    store: FeatureStore,
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    synthetic = make_synthetic(split, 1)
    arms = [
        Trial("kept", 0, split, synthetic, mixing="two-term-loss", sample_weights=(0.0,) * 6),
        Trial("wrong", 0, split, synthetic, sample_weights=(1.0,)),
    ]
    still = run_trial(replace(arms[0], synthetic_probability=1.0), validation, store, SHORT)
    # Nothing pulls, so only the weight decay is left, and it changes no order of the classes.
    start = run_trial(Trial("start", 0, split), validation, store, replace(SHORT, epochs=0))
    assert still.right == start.right
    with pytest.raises(UserError, match="1 sample weights for 6"):
        run_trial(arms[1], validation, store, SHORT)


def test_a_folder_of_features_changes_nothing(
    backbone: ClipBackbone,
    open_image: OpenImage,
    make_split: Callable[..., FewShotSplit],
    make_synthetic: Callable[..., tuple[SyntheticImage, ...]],
    store: FeatureStore,
    tmp_path: Path,
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    trial = Trial("dalda", 0, split, make_synthetic(split, 2))
    kept = FeatureStore(backbone, open_image, views=2, folder=tmp_path)
    assert run_trial(trial, validation, kept, SHORT).loss == pytest.approx(
        run_trial(trial, validation, store, SHORT).loss, rel=1e-4
    )


def test_the_text_head_starts_at_clips_own_logits(
    store: FeatureStore,
    backbone: ClipBackbone,
    open_image: OpenImage,
    make_split: Callable[..., FewShotSplit],
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    still = Schedule(epochs=0)
    result = run_trial(Trial("zero-shot", 0, split), validation, store, still)
    images = [open_image(example.path, sha256=example.sha256, shorter=0) for example in validation.images]
    texts = backbone.text_features(validation.classes)
    best = (backbone.extract(images) @ torch.nn.functional.normalize(texts, dim=1).T).argmax(1)
    assert result.right == tuple((best == torch.arange(3).repeat_interleave(5)).tolist())


def test_a_backbone_without_text_starts_from_the_seed(
    backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit]
) -> None:
    class NoText(torch.nn.Module):
        """The CLIP's image features alone."""

        image_size = 16

        def __init__(self) -> None:
            super().__init__()
            self.model = backbone.model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return backbone.embed(pixels)

    recipe = HeadRecipe("adam", 0.01, 0.0)
    module = as_backbone(NoText(), "cpu")
    assert isinstance(module, Backbone)
    store = FeatureStore(replace(module, recipe=recipe), open_image, views=2)
    split, validation = make_split("train", 2), make_split("val", 5)
    start = [
        run_trial(Trial("real", seed, split), validation, store, Schedule(epochs=0)) for seed in (0, 0, 1)
    ]
    assert start[0].loss == start[1].loss != start[2].loss
    assert run_trial(Trial("real", 0, split), validation, store, Schedule(2, 50, 8)).accuracy > 0.8


def test_what_cannot_be_compared_is_one_sentence(
    store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    one_class = replace(split, classes=("red",))
    cases = [
        (one_class, replace(validation, classes=("red",)), "at least two classes"),
        (split, replace(validation, classes=("red", "green", "grey")), "different classes"),
        (split, replace(validation, images=()), "no validation images"),
        (replace(split, images=split.images[:4]), validation, "have no training image"),
    ]
    for train, held_out, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            run_trial(Trial("real", 0, train), held_out, store, SHORT)


def test_each_trained_head_is_handed_out_with_its_result(
    store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    split, validation = make_split("train", 2), make_split("val", 5)
    heads: dict[int, TrainedHead] = {}
    trials = [Trial("real", seed, split) for seed in (0, 1)]

    def keep(result: TrialResult, head: TrainedHead) -> None:
        heads[result.seed] = head

    results = run_trials(trials, validation, store, SHORT, on_trial_end=keep)
    files = [ImageFile(image.path, image.sha256) for image in validation.images]
    features = torch.from_numpy(store.plain(files))
    for result in results:
        predicted = heads[result.seed].head(features).argmax(1)
        labels = torch.arange(3).repeat_interleave(5)
        assert result.right == tuple((predicted == labels).tolist())
