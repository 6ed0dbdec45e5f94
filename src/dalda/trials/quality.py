"""What can be said of synthetic images without training: fidelity, coverage, diversity, copies, strays.

All measures take feature matrices, one row per image, so that one pass of the backbone serves them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from dalda.errors import UserError
from dalda.records import Sample, Split
from dalda.trials.features import FeatureStore
from dalda.trials.trial import labels_of, picture_of

Features = NDArray[np.float64]

NEAR_COPY = 0.98
"""A cosine to the nearest real image from which a synthetic one counts as its copy."""
NEIGHBOURS = 5


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
    clip_score: float
    off_target: float
    """Share of synthetic images in which CLIP sees another class than they were made for."""


def quality(
    split: Split, samples: Sequence[Sample], store: FeatureStore
) -> tuple[Quality, dict[str, Quality]]:
    """The measures over all classes, and class by class. Raises `UserError` where there is nothing to tell.

    CLIP score and off-target share are NaN for a backbone that reads no text.
    """
    if not samples or not split.examples:
        raise UserError("There are no synthetic images, or no real ones, to evaluate.")
    foreign = sorted({sample.label for sample in samples} - set(split.classes))
    if foreign:
        raise UserError(
            f"The synthetic images have classes that {split.dataset} has not ({', '.join(foreign[:5])}): "
            "name the data set they were made from."
        )
    real = store.plain([picture_of(example) for example in split.examples]).astype(np.float64)
    made = store.plain([picture_of(sample) for sample in samples]).astype(np.float64)
    text = store.backbone.head_start(split.classes)
    texts = None if text is None else text.numpy().astype(np.float64)
    real_labels, labels = labels_of(split.examples, split.classes), labels_of(samples, split.classes)
    by_class = {
        name: measure(real[real_labels == number], made[labels == number], labels[labels == number], texts)
        for number, name in enumerate(split.classes)
        if (labels == number).any()
    }
    return measure(real, made, labels, texts), by_class


def measure(real: Features, made: Features, labels: NDArray[np.int64], texts: Features | None) -> Quality:
    """All measures of `made` [m, d] against `real` [n, d]; `texts` is [classes, d]."""
    unit_real, unit = normalised(real), normalised(made)
    density, coverage = density_and_coverage(real, made)
    score, stray = clip_measures(unit, labels, texts)
    return Quality(
        real_images=len(real),
        synthetic_images=len(made),
        kid=kid(real, made),
        cmmd=cmmd(real, made),
        density=density,
        coverage=coverage,
        vendi_score=vendi_score(made),
        mean_distance=float(pdist(unit, "cosine").mean()) if len(made) > 1 else np.nan,
        near_copies=float(((unit @ unit_real.T).max(1) >= NEAR_COPY).mean()) if len(real) else np.nan,
        clip_score=score,
        off_target=stray,
    )


def kid(real: Features, made: Features) -> float:
    """Kernel inception distance (arXiv 1801.01401) on these features: unbiased, over all images at once."""
    n, m, width = len(real), len(made), real.shape[1]
    if n < 2 or m < 2:
        return np.nan

    def kernel(a: Features, b: Features) -> Features:
        cubed: Features = (a @ b.T / width + 1) ** 3
        return cubed

    rr, mm = kernel(real, real), kernel(made, made)
    within = (rr.sum() - np.trace(rr)) / (n * (n - 1)) + (mm.sum() - np.trace(mm)) / (m * (m - 1))
    return float(within - 2 * kernel(real, made).mean())


def cmmd(real: Features, made: Features, sigma: float = 10.0, scale: float = 1000.0) -> float:
    """CMMD (arXiv 2401.09603): squared MMD with a Gaussian kernel on features of length one, times 1000."""
    if not len(real) or not len(made):
        return np.nan
    a, b = normalised(real), normalised(made)

    def mean(x: Features, y: Features) -> float:
        return float(np.exp(-cdist(x, y, "sqeuclidean") / (2 * sigma**2)).mean())

    return scale * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


def density_and_coverage(real: Features, made: Features, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (arXiv 2002.09797): how many real neighbourhoods hold a synthetic image.

    A neighbourhood reaches to a real image's k-th nearest other one. NaN with k real images or fewer.
    """
    if len(real) <= k or not len(made):
        return np.nan, np.nan
    reach = np.sort(cdist(real, real), axis=1)[:, k]
    inside = cdist(real, made) < reach[:, None]
    return float(inside.sum(0).mean() / k), float(inside.any(1).mean())


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


def clip_measures(unit: Features, labels: NDArray[np.int64], texts: Features | None) -> tuple[float, float]:
    """CLIP score (arXiv 2104.08718, 2.5 times the cosine, not below 0) and the off-target share."""
    if texts is None:
        return np.nan, np.nan
    cosine = unit @ normalised(texts).T
    own = cosine[np.arange(len(labels)), labels]
    return float(2.5 * np.maximum(own, 0).mean()), float((cosine.argmax(1) != labels).mean())


def normalised(rows: Features) -> Features:
    """Rows at length one, [n, d]."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float64).tiny), np.float64)
