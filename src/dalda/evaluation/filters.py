"""CLIP class probabilities of synthetic images, and weights: how much each image counts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dalda.errors import UserError
from dalda.evaluation.backbones.base import ZeroShot
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.trial import image_file, labels_of
from dalda.models.clip import class_probabilities
from dalda.types import SyntheticImage


def clip_probabilities(
    images: Sequence[SyntheticImage], classes: Mapping[str, str], store: FeatureStore
) -> NDArray[np.float64]:
    """The CLIP class probability of each synthetic image for its own class, [n].

    `classes` are the labels with their wordings. Raises `UserError` for a backbone without text features.
    """
    probabilities = all_probabilities(images, classes, store)
    if probabilities is None:
        raise UserError(f"The backbone {store.backbone.name!r} reads no class names: use clip.")
    return probabilities[np.arange(len(images)), labels_of(images, list(classes))]


def all_probabilities(
    images: Sequence[SyntheticImage], classes: Mapping[str, str], store: FeatureStore
) -> NDArray[np.float64] | None:
    """CLIP class probabilities [n, classes]; None for a backbone without text features."""
    if not isinstance(store.backbone, ZeroShot):
        return None
    features = store.plain([image_file(image) for image in images])
    text = store.backbone.text_features(list(classes.values()))
    return class_probabilities(features, text.numpy(), store.backbone.logit_scale)


def weights_of(probabilities: ArrayLike) -> tuple[float, ...]:
    """Loss weights from probabilities in [0, 1], scaled to a mean of 1, for `Trial.sample_weights`.

    Raises `UserError` where all are zero, so that nothing would be learned from the images.
    """
    values = np.asarray(probabilities, float)
    if not len(values):
        return ()
    if values.mean() == 0:
        raise UserError("Every synthetic image has a CLIP class probability of zero: use no weights.")
    return tuple((values / values.mean()).tolist())


def weights_within_sources(probabilities: ArrayLike, images: Sequence[SyntheticImage]) -> tuple[float, ...]:
    """Loss weights of synthetic images from the probabilities of their classes (DIAGen, arXiv 2408.14584).

    1 from a probability of one half on, below it twice the probability; scaled to a mean of 1 among the
    images of a source. Images of a source that are all improbable count alike.
    """
    values = np.minimum(2 * np.asarray(probabilities, float), 1)
    _, source = np.unique([image.source_sha256 for image in images], return_inverse=True)
    means = np.bincount(source, values) / np.bincount(source) if len(values) else values
    return tuple(
        np.divide(values, means[source], out=np.ones_like(values), where=means[source] > 0).tolist()
    )
