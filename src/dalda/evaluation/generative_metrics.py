"""Measures of synthetic images without training: fidelity, coverage, diversity, near-duplicates, off-class.

All measures take feature matrices, one row per image, so that one pass of the backbone serves them all.
Pairs are compared some rows at a time, and of a large set a fixed sample: time grows with its size alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from dalda.datasets.class_names import class_wordings
from dalda.errors import UserError
from dalda.evaluation.features import FeatureStore, normalized
from dalda.evaluation.filters import all_probabilities
from dalda.evaluation.trial import image_file, labels_of
from dalda.progress import progress
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, SyntheticImage

Features = NDArray[np.floating]
Probabilities = NDArray[np.float64]

NEAR_DUPLICATE = 0.98
"""Cosine to the nearest real image from which a synthetic image counts as a near-duplicate."""
NEIGHBOURS = 5
ROWS_AT_ONCE = 512
MOST_PAIRED = 10_000
"""Images of a set whose pairs are compared: of a larger set a fixed sample of so many."""


@dataclass(frozen=True)
class SetMeasures:
    """The measures of one set of synthetic images against real ones; NaN where there are too few images."""

    real_images: int
    synthetic_images: int
    kid: float
    cmmd: float
    density: float
    coverage: float
    vendi_score: float
    mean_distance: float
    near_duplicates: float
    """Share of synthetic images whose nearest real image has a cosine of at least `NEAR_DUPLICATE`."""
    clip_probability: float
    """Mean of the CLIP class probabilities of the images for their own classes."""
    off_class: float
    """Share of synthetic images in which CLIP sees another class than theirs."""


@dataclass(frozen=True)
class ImageMeasures:
    """One synthetic image: its nearest real image, and the class that CLIP sees."""

    image: SyntheticImage
    nearest: int
    """Place in the split's images."""
    cosine: float
    """To the nearest real image."""
    clip_probability: float | None
    """CLIP class probability of the image's own class."""
    predicted: str | None
    """The class with the highest probability."""

    @property
    def is_near_duplicate(self) -> bool:
        return self.cosine >= NEAR_DUPLICATE

    @property
    def is_off_class(self) -> bool:
        return self.predicted is not None and self.predicted != self.image.label


@dataclass(frozen=True)
class Evaluation:
    """A synthetic set against real images: overall, class by class, and image by image."""

    overall: SetMeasures
    classes: dict[str, SetMeasures]
    images: tuple[ImageMeasures, ...]


def measure_set(
    split: FewShotSplit,
    images: Sequence[SyntheticImage],
    store: FeatureStore,
    clip: FeatureStore | None = None,
) -> Evaluation:
    """All measures of a synthetic set. Raises `UserError` where there is nothing to compare.

    `clip` gives the CLIP class probabilities; without one, the store's own backbone does where it can.
    """
    real, synthetic, probabilities = _features(split, images, store, clip or store)
    real_labels, labels = labels_of(split.images, split.classes), labels_of(images, split.classes)
    classes = {}
    with progress("measures", len(split.classes) + 1) as bar:
        overall = measure(real, synthetic, labels, probabilities)
        bar.advance()
        for number, name in enumerate(split.classes):
            own = labels == number
            if own.any():
                its = None if probabilities is None else probabilities[own]
                classes[name] = measure(real[real_labels == number], synthetic[own], labels[own], its)
            bar.advance()
    return Evaluation(overall, classes, _image_measures(split, images, real, synthetic, probabilities))


def measure_images(
    split: FewShotSplit, images: Sequence[SyntheticImage], store: FeatureStore
) -> tuple[ImageMeasures, ...]:
    """The measures of each synthetic image alone. Raises `UserError` as `evaluate` does."""
    return _image_measures(split, images, *_features(split, images, store, store))


def _features(
    split: FewShotSplit, images: Sequence[SyntheticImage], store: FeatureStore, clip: FeatureStore
) -> tuple[Features, Features, Probabilities | None]:
    """Features of the real and of the synthetic images, and CLIP class probabilities of these."""
    if not images or not split.images:
        raise UserError("There are no synthetic images, or no real ones, to evaluate.")
    foreign = sorted({image.label for image in images} - set(split.classes))
    if foreign:
        raise UserError(
            f"The synthetic images have classes that {split.dataset} has not ({', '.join(foreign[:5])}): "
            "name the data set they were made from."
        )
    real = store.plain([image_file(image) for image in split.images])
    synthetic = store.plain([image_file(image) for image in images])
    return real, synthetic, all_probabilities(images, class_wordings(split), clip)


def _image_measures(
    split: FewShotSplit,
    images: Sequence[SyntheticImage],
    real: Features,
    synthetic: Features,
    probabilities: Probabilities | None,
) -> tuple[ImageMeasures, ...]:
    labels = labels_of(images, split.classes)
    nearest, cosine = nearest_real(real, synthetic)
    return tuple(
        ImageMeasures(
            image,
            int(nearest[number]),
            float(cosine[number]),
            None if probabilities is None else float(probabilities[number, labels[number]]),
            None if probabilities is None else split.classes[int(probabilities[number].argmax())],
        )
        for number, image in enumerate(images)
    )


def measure(
    real: Features, synthetic: Features, labels: NDArray[np.int64], probabilities: Probabilities | None
) -> SetMeasures:
    """All measures of `synthetic` [m, d] against `real` [n, d].

    `probabilities` are CLIP's of the synthetic images, [m, classes]; `labels` are their classes [m].
    """
    few_real, few_synthetic = _sampled(real), _sampled(synthetic)
    density, coverage = density_and_coverage(few_real, few_synthetic)
    probability, off_class = clip_measures(labels, probabilities)
    near = nearest_real(real, synthetic)[1] >= NEAR_DUPLICATE
    return SetMeasures(
        real_images=len(real),
        synthetic_images=len(synthetic),
        kid=kid(few_real, few_synthetic),
        cmmd=cmmd(few_real, few_synthetic),
        density=density,
        coverage=coverage,
        vendi_score=vendi_score(synthetic),
        mean_distance=mean_distance(synthetic),
        near_duplicates=float(near.mean()) if len(real) else np.nan,
        clip_probability=probability,
        off_class=off_class,
    )


def _sampled(rows: Features) -> Features:
    """All rows, or a fixed sample of `MOST_PAIRED` of them."""
    if len(rows) <= MOST_PAIRED:
        return rows
    chosen = generator_of(0, "pairs", len(rows)).choice(len(rows), MOST_PAIRED, replace=False)
    return rows[np.sort(chosen)]


def kid(real: Features, synthetic: Features) -> float:
    """Kernel inception distance (arXiv 1801.01401) on these features: unbiased, over all images at once."""
    n, m, width = len(real), len(synthetic), real.shape[1]
    if n < 2 or m < 2:
        return np.nan

    def total(a: Features, b: Features) -> float:
        other = b.astype(np.float64).T
        return sum(float(((rows @ other / width + 1) ** 3).sum()) for rows in _parts(a))

    def trace(a: Features) -> float:
        return sum(float((((rows * rows).sum(1) / width + 1) ** 3).sum()) for rows in _parts(a))

    within = (total(real, real) - trace(real)) / (n * (n - 1))
    within += (total(synthetic, synthetic) - trace(synthetic)) / (m * (m - 1))
    return within - 2 * total(real, synthetic) / (n * m)


def cmmd(real: Features, synthetic: Features, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (arXiv 2401.09603): squared MMD with a Gaussian kernel on features of length one, times 1000."""
    if not len(real) or not len(synthetic):
        return np.nan
    a, b = normalized(real), normalized(synthetic)

    def mean(x: Features, y: Features) -> float:
        sums = [float(np.exp(-cdist(rows, y, "sqeuclidean") / (2 * sigma**2)).sum()) for rows in _parts(x)]
        return sum(sums) / (len(x) * len(y))

    return scale * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


def density_and_coverage(real: Features, synthetic: Features, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (arXiv 2002.09797): how many real neighbourhoods hold a synthetic image.

    A neighbourhood reaches to a real image's k-th nearest other one. NaN with k real images or fewer.
    """
    if len(real) <= k or not len(synthetic):
        return np.nan, np.nan
    inside, covered = 0, 0
    for rows in _parts(real):
        # The nearest one is the image itself.
        reach = np.partition(cdist(rows, real), k, axis=1)[:, k]
        held = cdist(rows, synthetic) < reach[:, None]
        inside += int(held.sum())
        covered += int(held.any(1).sum())
    return inside / (k * len(synthetic)), covered / len(real)


def vendi_score(synthetic: Features) -> float:
    """Vendi score (arXiv 2210.02410) with the cosine kernel: the effective number of different images."""
    if not len(synthetic):
        return np.nan
    # The smaller of the two Gram matrices has the same eigenvalues above zero.
    if len(synthetic) <= synthetic.shape[1]:
        unit = normalized(synthetic)
        gram = unit @ unit.T
    else:
        gram = np.zeros((synthetic.shape[1],) * 2)
        for rows in _parts(synthetic):
            gram += normalized(rows).T @ normalized(rows)
    share = np.linalg.eigvalsh(gram / len(synthetic))
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def mean_distance(synthetic: Features) -> float:
    """The mean cosine distance between two different images, from the length of the images' sum."""
    count = len(synthetic)
    if count < 2:
        return np.nan
    total = sum((normalized(rows).sum(0) for rows in _parts(synthetic)), np.zeros(synthetic.shape[1]))
    return 1 - (float((total**2).sum()) - count) / (count * (count - 1))


def nearest_real(real: Features, synthetic: Features) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each synthetic image the nearest real one and the cosine to it, [m] and [m]."""
    if not len(real) or not len(synthetic):
        return np.empty(0, np.int64), np.empty(0)
    unit = normalized(real)
    places, cosines = [], []
    for rows in _parts(synthetic):
        cosine = normalized(rows) @ unit.T
        places.append(cosine.argmax(1))
        cosines.append(cosine.max(1))
    return np.concatenate(places), np.concatenate(cosines)


def clip_measures(labels: NDArray[np.int64], probabilities: Probabilities | None) -> tuple[float, float]:
    """The mean probability of the images' own classes, and the share in which another one is higher."""
    if probabilities is None:
        return np.nan, np.nan
    own = probabilities[np.arange(len(labels)), labels]
    return float(own.mean()), float((probabilities.argmax(1) != labels).mean())


def _parts(rows: Features) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE].astype(np.float64)
