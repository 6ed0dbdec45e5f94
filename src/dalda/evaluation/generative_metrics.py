"""What can be said of synthetic images without training: fidelity, coverage, diversity, copies, strays.

All measures take feature matrices, one row per image, so that one pass of the backbone serves them all.
What compares every image with every other does so some rows at a time: n x n numbers are never held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from dalda.errors import UserError
from dalda.evaluation.features import FeatureStore, normalised
from dalda.evaluation.trial import image_of, labels_of
from dalda.models.clip import class_probabilities
from dalda.types import FewShotSplit, SyntheticImage

Features = NDArray[np.float64]

NEAR_COPY = 0.98
"""A cosine to the nearest real image from which a synthetic one counts as its copy."""
NEIGHBOURS = 5
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Quality:
    """The measures of one set of synthetic images against real ones; NaN where there are too few images."""

    real_images: int
    synthetic_images: int
    kid: float
    cmmd: float
    density: float
    coverage: float
    vendi_score: float
    mean_distance: float
    near_copies: float
    """Share of synthetic images whose nearest real image is closer than `NEAR_COPY`."""
    source_clip_probability: float
    off_target: float
    """Share of synthetic images in which CLIP sees another class than they were made for."""


@dataclass(frozen=True)
class Look:
    """What one synthetic image looks like: its nearest real image, and what CLIP sees."""

    sample: SyntheticImage
    nearest: int
    """Place in the split's examples."""
    cosine: float
    """To the nearest real image."""
    source_clip_probability: float | None
    """CLIP's probability of the image's class."""
    seen: str | None
    """The class that CLIP sees."""

    @property
    def near_copy(self) -> bool:
        return self.cosine >= NEAR_COPY

    @property
    def off_target(self) -> bool:
        return self.seen is not None and self.seen != self.sample.label


@dataclass(frozen=True)
class Evaluation:
    """A synthetic set against real images: overall, class by class, and image by image."""

    overall: Quality
    classes: dict[str, Quality]
    looks: tuple[Look, ...]


def evaluate(
    split: FewShotSplit,
    samples: Sequence[SyntheticImage],
    store: FeatureStore,
    reader: FeatureStore | None = None,
) -> Evaluation:
    """All there is to say of a synthetic set. Raises `UserError` where there is nothing to tell.

    `reader` is a CLIP for the CLIP class probability and the off-target share; without one, the store's
    own backbone says them where it reads text.
    """
    seen = _seen(split, samples, store, reader or store)
    real_labels, labels = labels_of(split.images, split.classes), labels_of(samples, split.classes)
    classes = {}
    for number, name in enumerate(split.classes):
        own = labels == number
        if own.any():
            said = None if seen.said is None else seen.said[own]
            classes[name] = measure(seen.real[real_labels == number], seen.made[own], labels[own], said)
    return Evaluation(
        measure(seen.real, seen.made, labels, seen.said), classes, _looks(split, samples, seen)
    )


def look_at(
    split: FewShotSplit, samples: Sequence[SyntheticImage], store: FeatureStore
) -> tuple[Look, ...]:
    """What each synthetic image looks like, and nothing of the whole. Raises `UserError` as `evaluate`."""
    return _looks(split, samples, _seen(split, samples, store, store))


@dataclass(frozen=True)
class _Seen:
    """Features of the real and of the synthetic images, and CLIP's probabilities [m, classes] of these."""

    real: Features
    made: Features
    said: Features | None


def _seen(
    split: FewShotSplit, samples: Sequence[SyntheticImage], store: FeatureStore, reader: FeatureStore
) -> _Seen:
    if not samples or not split.images:
        raise UserError("There are no synthetic images, or no real ones, to evaluate.")
    foreign = sorted({sample.label for sample in samples} - set(split.classes))
    if foreign:
        raise UserError(
            f"The synthetic images have classes that {split.dataset} has not ({', '.join(foreign[:5])}): "
            "name the data set they were made from."
        )
    real = store.plain([image_of(example) for example in split.images]).astype(np.float64)
    images = [image_of(sample) for sample in samples]
    made = store.plain(images).astype(np.float64)
    text = reader.backbone.head_init(split.classes)
    said = None
    if text is not None:
        said = class_probabilities(reader.plain(images), text.numpy(), reader.backbone.text_scale)
    return _Seen(real, made, said)


def _looks(split: FewShotSplit, samples: Sequence[SyntheticImage], seen: _Seen) -> tuple[Look, ...]:
    labels = labels_of(samples, split.classes)
    nearest, cosine = nearest_real(seen.real, seen.made)
    return tuple(
        Look(
            sample,
            int(nearest[number]),
            float(cosine[number]),
            None if seen.said is None else float(seen.said[number, labels[number]]),
            None if seen.said is None else split.classes[int(seen.said[number].argmax())],
        )
        for number, sample in enumerate(samples)
    )


def measure(real: Features, made: Features, labels: NDArray[np.int64], said: Features | None) -> Quality:
    """All measures of `made` [m, d] against `real` [n, d].

    `said` is CLIP's probabilities of the synthetic images, [m, classes]; `labels` are their classes [m].
    """
    density, coverage = density_and_coverage(real, made)
    score, stray = clip_measures(labels, said)
    return Quality(
        real_images=len(real),
        synthetic_images=len(made),
        kid=kid(real, made),
        cmmd=cmmd(real, made),
        density=density,
        coverage=coverage,
        vendi_score=vendi_score(made),
        mean_distance=mean_distance(made),
        near_copies=float((nearest_real(real, made)[1] >= NEAR_COPY).mean()) if len(real) else np.nan,
        source_clip_probability=score,
        off_target=stray,
    )


def kid(real: Features, made: Features) -> float:
    """Kernel inception distance (arXiv 1801.01401) on these features: unbiased, over all images at once."""
    n, m, width = len(real), len(made), real.shape[1]
    if n < 2 or m < 2:
        return np.nan

    def total(a: Features, b: Features) -> float:
        return sum(float(((rows @ b.T / width + 1) ** 3).sum()) for rows in _parts(a))

    def trace(a: Features) -> float:
        return float((((a * a).sum(1) / width + 1) ** 3).sum())

    within = (total(real, real) - trace(real)) / (n * (n - 1))
    within += (total(made, made) - trace(made)) / (m * (m - 1))
    return within - 2 * total(real, made) / (n * m)


def cmmd(real: Features, made: Features, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (arXiv 2401.09603): squared MMD with a Gaussian kernel on features of length one, times 1000."""
    if not len(real) or not len(made):
        return np.nan
    a, b = normalised(real), normalised(made)

    def mean(x: Features, y: Features) -> float:
        sums = [float(np.exp(-cdist(rows, y, "sqeuclidean") / (2 * sigma**2)).sum()) for rows in _parts(x)]
        return sum(sums) / (len(x) * len(y))

    return scale * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


def density_and_coverage(real: Features, made: Features, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (arXiv 2002.09797): how many real neighbourhoods hold a synthetic image.

    A neighbourhood reaches to a real image's k-th nearest other one. NaN with k real images or fewer.
    """
    if len(real) <= k or not len(made):
        return np.nan, np.nan
    inside, covered = 0, 0
    for rows in _parts(real):
        # The nearest one is the image itself.
        reach = np.partition(cdist(rows, real), k, axis=1)[:, k]
        held = cdist(rows, made) < reach[:, None]
        inside += int(held.sum())
        covered += int(held.any(1).sum())
    return inside / (k * len(made)), covered / len(real)


def vendi_score(made: Features) -> float:
    """Vendi score (arXiv 2210.02410) with the cosine kernel: the effective number of different images."""
    if not len(made):
        return np.nan
    unit = normalised(made)
    # The smaller of the two Gram matrices has the same eigenvalues above zero.
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    share = np.linalg.eigvalsh(gram / len(unit))
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def mean_distance(made: Features) -> float:
    """The mean cosine distance between two different images, from the length of the images' sum."""
    count = len(made)
    if count < 2:
        return np.nan
    cosines = float((normalised(made).sum(0) ** 2).sum()) - count
    return 1 - cosines / (count * (count - 1))


def nearest_real(real: Features, made: Features) -> tuple[NDArray[np.int64], Features]:
    """For each synthetic image the nearest real one and the cosine to it, [m] and [m]."""
    if not len(real) or not len(made):
        return np.empty(0, np.int64), np.empty(0)
    unit = normalised(real)
    places, cosines = [], []
    for rows in _parts(made):
        cosine = normalised(rows) @ unit.T
        places.append(cosine.argmax(1))
        cosines.append(cosine.max(1))
    return np.concatenate(places), np.concatenate(cosines)


def clip_measures(labels: NDArray[np.int64], said: Features | None) -> tuple[float, float]:
    """The mean of CLIP's probability of the own class, and the share in which it sees another one."""
    if said is None:
        return np.nan, np.nan
    own = said[np.arange(len(labels)), labels]
    return float(own.mean()), float((said.argmax(1) != labels).mean())


def _parts(rows: Features) -> Iterator[Features]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]
