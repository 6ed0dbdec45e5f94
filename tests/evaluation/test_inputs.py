from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from dalda.errors import UserError
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.features import FeatureStore, OpenImage
from dalda.evaluation.inputs import CachedViews, FreshViews, trainable_copy
from dalda.evaluation.training import TrainingMethod, fit_heads, prepare, run_trials
from dalda.evaluation.transforms import cutmix, mixup
from dalda.evaluation.trial import Schedule, Trial
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, SyntheticImage, TrialResult

Samples = tuple[SyntheticImage, ...]
SHORT = Schedule(epochs=2, iterations=6, batch=4)
SHAPES = ((24, 32), (40, 20), (48, 48))
"""Wide, tall, and square, all larger than the 16 pixels that the model sees."""


def run_fresh(
    trial: Trial, validation: FewShotSplit, store: FeatureStore, schedule: Schedule, **method: str
) -> TrialResult:
    return run_trials([trial], validation, store, schedule, TrainingMethod(True, **method))[0]


@pytest.fixture(scope="module")
def store(backbone: ClipBackbone, open_image: OpenImage) -> FeatureStore:
    return FeatureStore(backbone, open_image, views=1)


@pytest.fixture(scope="module")
def trial(make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., Samples]) -> Trial:
    split = make_split("train", 2, 5, SHAPES)
    return Trial("dalda", 3, split, make_synthetic(split, 3, SHAPES))


def reference_losses(trial: Trial, backbone: ClipBackbone, steps: int, batch: int) -> list[float]:
    """The original code's loop, written again from METHOD.md: item by item, sharing nothing but the
    seeds."""
    real = [(one.path, trial.split.classes.index(one.label), one.sha256) for one in trial.split.images]
    copies = {sha: [one.path for one in trial.synthetic if one.source_sha256 == sha] for _, _, sha in real}
    rng, turns = generator_of(trial.seed, "draws"), generator_of(trial.seed, "exact views")
    which = rng.integers(len(real), size=(steps, batch))
    coin, pick = rng.random((steps, batch)), rng.random((steps, batch))

    def resized(path: Path) -> Image.Image:
        """The shorter side at 16 pixels, as CLIP does it."""
        image: Image.Image = Image.open(path)
        width, height = image.size
        by = 16 / min(width, height)
        size = (round(width * by), round(height * by))
        return image.resize(size, Image.Resampling.BICUBIC)

    def encode(image: Image.Image) -> torch.Tensor:
        left, top = (image.width - 16) // 2, (image.height - 16) // 2
        image = image.crop((left, top, left + 16, top + 16))
        pixels = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)[None]
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
        model = backbone.model
        return model.visual_projection(model.vision_model((pixels - mean) / std).pooler_output)  # type: ignore

    texts = backbone.text_features(trial.split.classes)
    length = torch.cat([encode(resized(path)) for path, _, _ in real]).norm(dim=1).mean()
    scale = backbone.model.logit_scale.exp() / length  # type: ignore[operator]
    head = torch.nn.Linear(texts.shape[1], len(texts))
    with torch.no_grad():
        head.weight.copy_(texts / texts.norm(dim=1, keepdim=True) * scale)
        head.bias.zero_()
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-4, weight_decay=0.1)
    losses = []
    for step in range(steps):
        features, labels = [], []
        for slot in range(batch):
            path, label, sha = real[which[step, slot]]
            if coin[step, slot] < 0.5 and copies[sha]:
                path = copies[sha][int(pick[step, slot] * len(copies[sha]))]
            image = resized(path)
            if turns.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            features.append(encode(image.rotate(turns.uniform(-15, 15), Image.Resampling.BILINEAR)))
            labels.append(label)
        loss = cross_entropy(head(torch.cat(features).detach()), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_fresh_views_are_the_original_codes_loop_loss_by_loss(
    trial: Trial, store: FeatureStore, backbone: ClipBackbone
) -> None:
    heads, inputs = prepare([trial], store, SHORT, TrainingMethod(online=True))
    found = [loss for _, _, loss in fit_heads(heads, inputs, SHORT)]
    assert found == pytest.approx(reference_losses(trial, backbone, 12, 4), rel=1e-4)
    assert found[0] != pytest.approx(found[-1], rel=1e-3)


def test_a_trial_on_fresh_views_has_a_result_and_a_seed(
    trial: Trial, store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    validation = make_split("val", 5)
    result = run_fresh(trial, validation, store, SHORT)
    assert result == run_fresh(trial, validation, store, SHORT)
    assert (len(result.right), len(result.epoch_accuracy), result.synthetic_images) == (15, 2, 18)
    assert run_fresh(trial, validation, store, SHORT, batch_augment="cutmix").loss != result.loss


@pytest.mark.parametrize("finetune", ["full", "lora"])
def test_tuning_moves_a_copy_of_the_backbone(
    finetune: str,
    trial: Trial,
    store: FeatureStore,
    backbone: ClipBackbone,
    make_split: Callable[..., FewShotSplit],
) -> None:
    before = {name: weight.clone() for name, weight in backbone.model.state_dict().items()}
    state = torch.random.get_rng_state()
    result = run_fresh(trial, make_split("val", 5), store, SHORT, finetune=finetune)
    still = run_fresh(trial, make_split("val", 5), store, SHORT)
    assert result.loss != still.loss
    assert result == run_fresh(trial, make_split("val", 5), store, SHORT, finetune=finetune)
    assert all(torch.equal(weight, before[name]) for name, weight in backbone.model.state_dict().items())
    assert not backbone.model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_lora_learns_beside_the_weights_of_the_vision_tower(backbone: ClipBackbone) -> None:
    moving = [
        name
        for name, weight in trainable_copy(backbone, "lora", 0).model.named_parameters()
        if weight.requires_grad
    ]
    assert moving
    assert all("lora" in name and "text_model" not in name for name in moving)


def test_mixup_and_cutmix_keep_the_share_they_tell() -> None:
    # Images of one value each: what a mixed pixel holds tells where it came from.
    pixels = torch.arange(1.0, 7.0).view(6, 1, 1, 1).expand(6, 3, 20, 20)
    for seed in range(20):
        mixed, partner, share = mixup(pixels, np.random.default_rng(seed))
        torch.testing.assert_close(mixed, share * pixels + (1 - share) * pixels[partner])
        mixed, partner, share = cutmix(pixels, np.random.default_rng(seed))
        for number, other in enumerate(partner):
            kept = (mixed[number] == pixels[number]).float().mean().item()
            assert kept == pytest.approx(1.0 if other == number else share)


def test_unknown_choices_are_one_sentence(
    trial: Trial, store: FeatureStore, make_split: Callable[..., FewShotSplit]
) -> None:
    with pytest.raises(UserError, match="use head, full or lora"):
        run_fresh(trial, make_split("val", 5), store, SHORT, finetune="half")
    with pytest.raises(UserError, match="use none, mixup or cutmix"):
        run_fresh(trial, make_split("val", 5), store, SHORT, batch_augment="mixing")


def test_soft_labels_are_learned_beside_hard_ones(trial: Trial, store: FeatureStore) -> None:
    """Two classes are shares of one loss; an arm of hard labels trains to the bit as it does alone."""
    soft = (("red", 0.4), ("blue", 0.6))
    mixed = replace(
        trial, arm="mix", synthetic=tuple(replace(image, soft_label=soft) for image in trial.synthetic)
    )
    schedule = Schedule(1, 4, 8)
    together, alone = CachedViews([trial, mixed], store, schedule), CachedViews([trial], store, schedule)
    batch = together.batch(0)
    assert batch.shares.shape == (2, 8, 2)
    assert torch.equal(batch.shares[0, :, :1], alone.batch(0).shares[0])
    rows = batch.shares[1] * 8
    assert torch.allclose(rows.sum(1), torch.ones(8))
    blended = rows[rows[:, 1] > 0]
    assert torch.allclose(blended, torch.tensor([0.4, 0.6]).expand_as(blended))
    assert len(blended) == int(
        (together.batch(0).targets[1, :, 0] != together.batch(0).targets[1, :, 1]).sum()
    )
    fresh = FreshViews(mixed, store, schedule).batch(0)
    assert torch.equal(fresh.targets[0], batch.targets[1])
    assert torch.allclose(fresh.shares[0], batch.shares[1])
