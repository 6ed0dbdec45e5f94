"""The rows of a trial: cached features of its images' views, with the shares that its mixing gives them."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from dalda.datasets.class_names import class_wordings
from dalda.evaluation.backbones.base import Backbone, ZeroShot
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.heads.base import FeatureRows, Numbers
from dalda.evaluation.transforms import augmented_views, mix_batch
from dalda.evaluation.trial import Trial, image_file
from dalda.seeding import generator_of

MAX_ROWS = 20_000
"""Of many images fewer views are used, so that a fit stays a matter of seconds."""


def feature_rows(trial: Trial, store: FeatureStore) -> FeatureRows:
    """Each image's views, drawn by the trial's seed from those that are cached."""
    items, real = trial.items, trial.pool.real
    table, places = store.viewed([image_file(item) for item in items])
    views = min(store.views, max(1, MAX_ROWS // len(items)))
    drawn = generator_of(trial.seed, "views").integers(store.views, size=(len(items), views))
    features = np.asarray(table[places[:, None], drawn], np.float64).reshape(len(items) * views, -1)
    image = np.repeat(np.arange(len(items)), views)
    source = np.concatenate([np.arange(real), trial.pool.source])[image]
    backbone = store.backbone
    text, scale = None, 1.0
    if isinstance(backbone, ZeroShot):
        names = list(class_wordings(trial.split).values())
        text = nn.functional.normalize(backbone.text_features(names).double().cpu(), dim=1).numpy()
        scale = backbone.logit_scale
    return FeatureRows(
        features=features,
        targets=_soft_targets(trial)[image],
        weights=trial.shares[image] / views,
        images=image,
        sources=np.stack([source, source], 1),
        real=image < real,
        text=text,
        logit_scale=scale,
    )


def _soft_targets(trial: Trial) -> Numbers:
    """Shares of classes, [items, classes]."""
    numbers, shares = trial.targets
    found = np.zeros((len(numbers), len(trial.split.classes)))
    np.add.at(found, (np.arange(len(numbers))[:, None], numbers), shares)
    return found


def transformed_rows(trial: Trial, store: FeatureStore, transforms: str) -> FeatureRows:
    """The standard rows, and as many under other transforms, which are not measured on."""
    plain = feature_rows(trial, store)
    other = feature_rows(trial, store.with_transforms(transforms))
    return _joined(plain, other)


def mixed_rows(trial: Trial, store: FeatureStore, batch_augment: str) -> FeatureRows:
    """The standard rows, and as many of pairs of real images; each belongs to both of its images."""
    plain, backbone = feature_rows(trial, store), store.backbone
    assert isinstance(backbone, Backbone)
    generator = generator_of(trial.seed, "classical", batch_augment)
    images = trial.split.images
    opened = [
        augmented_views(store.open(image_file(image)), backbone.size, store.views, "standard", image.sha256)
        for image in images
    ]
    features: list[Numbers] = []
    pairs: list[tuple[int, int, float]] = []
    for view in range(store.views):
        order = generator.permutation(len(images))
        for batch in np.array_split(order, -(-len(order) // 64)):
            pixels = backbone.pixels([opened[image][view] for image in batch])
            mixed, partner, share = mix_batch(pixels, batch_augment, generator)
            with torch.no_grad():
                features.append(backbone.embed(mixed).double().cpu().numpy())
            pairs += [
                (int(image), int(batch[other]), share) for image, other in zip(batch, partner, strict=True)
            ]
    first, second = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    shares = np.array([pair[2] for pair in pairs])[:, None]
    targets = np.eye(len(trial.split.classes))[trial.labels]
    mixed_part = replace(
        plain,
        features=np.concatenate(features),
        targets=shares * targets[first] + (1 - shares) * targets[second],
        weights=np.full(len(pairs), 1 / len(pairs)),
        images=first,
        sources=np.stack([first, second], 1),
        real=np.zeros(len(pairs), np.bool_),
    )
    return _joined(plain, mixed_part)


def _joined(plain: FeatureRows, other: FeatureRows) -> FeatureRows:
    """Both with half of the weight; only the first are measured on."""

    def both(name: str) -> Numbers:
        return np.concatenate([getattr(plain, name), getattr(other, name)])

    return replace(
        plain,
        features=both("features"),
        targets=both("targets"),
        weights=both("weights") / 2,
        images=np.concatenate([plain.images, plain.images.max() + 1 + other.images]),
        sources=np.concatenate([plain.sources, other.sources]),
        real=np.concatenate([plain.real, np.zeros(len(other.real), np.bool_)]),
    )
