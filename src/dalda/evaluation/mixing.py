"""Ways to mix synthetic images into training: pure functions from a pool of images to what is drawn.

The names are those of UniDiffDA (arXiv 2603.08364); the two-term loss is DataDream's (arXiv 2407.10910).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalda.errors import UserError
from dalda.types import RealImage, SyntheticImage

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The images of a trial, by number: real ones are 0 to real - 1, synthetic ones follow them."""

    real: int
    source: Rows
    """For each synthetic image the real one it was made from, [synthetic]."""

    @property
    def synthetic(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Draws:
    """What each training step sees."""

    images: Rows
    """Image numbers of the pool, [steps, batch]."""
    weights: NDArray[np.float32]
    """Of each image's loss in the mean over the batch, [steps, batch]."""


def pool_of(
    real_images: Sequence[RealImage], synthetic_images: Sequence[SyntheticImage]
) -> tuple[Pool, list[SyntheticImage]]:
    """The pool, and the synthetic images in it, in its order; each belongs to its source's content.

    Synthetic images from other sources (more shots than these) are not in it. Raises `UserError` where none
    belongs, or where an image's class is not its source's.
    """
    # Backwards, so that of two real images with the same content the first one is the source.
    source_number = {
        (image.sha256, image.label): number for number, image in reversed(list(enumerate(real_images)))
    }
    label_of = {image.sha256: image.label for image in real_images}
    in_pool = [image for image in synthetic_images if image.source_sha256 in label_of]
    if synthetic_images and not in_pool:
        raise UserError(
            f"None of the {len(synthetic_images)} synthetic images in {synthetic_images[0].path.parent} "
            "was made from an image of this split: name the data set, the seed and the shots of the set."
        )
    for image in in_pool:
        if (image.source_sha256, image.source_class) not in source_number:
            label = label_of[image.source_sha256]
            raise UserError(
                f"The synthetic image {image.path.name} is labelled {image.source_class!r}, but its source "
                f"is of class {label!r}: the synthetic folder belongs to another data set."
            )
    numbers = [source_number[image.source_sha256, image.source_class] for image in in_pool]
    return Pool(len(real_images), np.array(numbers, dtype=np.int64)), in_pool


def per_image_replacement(
    generator: np.random.Generator, pool: Pool, steps: int, batch: int, probability: float
) -> Draws:
    """The paper's: a real image at random, or with the probability one of its own copies at random.

    A real image without copies stays itself.
    """
    real, replaced, share = _choices(generator, pool, (steps, batch), probability)
    order = np.argsort(pool.source, kind="stable")
    copies = np.bincount(pool.source, minlength=pool.real)
    first = np.cumsum(copies) - copies
    replaced &= copies[real] > 0
    images = real.copy()
    at = real[replaced]
    images[replaced] = pool.real + order[first[at] + (share[replaced] * copies[at]).astype(np.int64)]
    return _alike(images)


def global_replacement(
    generator: np.random.Generator, pool: Pool, steps: int, batch: int, probability: float
) -> Draws:
    """A real image at random, or with the probability any synthetic image at random."""
    images, replaced, share = _choices(generator, pool, (steps, batch), probability)
    if pool.synthetic:
        images[replaced] = pool.real + (share[replaced] * pool.synthetic).astype(np.int64)
    return _alike(images)


def concatenation(
    generator: np.random.Generator, pool: Pool, steps: int, batch: int, probability: float
) -> Draws:
    """Any image at random, real or synthetic; the probability is not used."""
    return _alike(generator.integers(pool.real + pool.synthetic, size=(steps, batch)))


def synthetic_only(
    generator: np.random.Generator, pool: Pool, steps: int, batch: int, probability: float
) -> Draws:
    """Any synthetic image at random; the probability is not used. Raises `UserError` without any."""
    if not pool.synthetic:
        raise UserError("Training on synthetic images only was asked for, but there is no synthetic image.")
    return _alike(pool.real + generator.integers(pool.synthetic, size=(steps, batch)))


def two_term_loss(
    generator: np.random.Generator, pool: Pool, steps: int, batch: int, probability: float
) -> Draws:
    """Half of each batch real, half synthetic; the synthetic half's mean loss weighs as the probability.

    Without synthetic images the whole batch is real. Raises `UserError` for a batch of one image.
    """
    check_probability(probability)
    images = generator.integers(pool.real, size=(steps, batch))
    if pool.synthetic and batch < 2:
        raise UserError("A batch of one image has no two halves: use --batch-size 2 or more.")
    half = batch // 2 if pool.synthetic else 0
    weights = np.ones((steps, batch), np.float32)
    if half:
        images[:, :half] = pool.real + generator.integers(pool.synthetic, size=(steps, half))
        weights[:, :half] = probability * batch / half
        weights[:, half:] = (1 - probability) * batch / (batch - half)
    return Draws(images, weights)


Way = Callable[[np.random.Generator, Pool, int, int, float], Draws]
WAYS: dict[str, Way] = {
    "per-image-replacement": per_image_replacement,
    "global-replacement": global_replacement,
    "concatenation": concatenation,
    "synthetic-only": synthetic_only,
    "two-term-loss": two_term_loss,
}


def draw_indices(
    way: str, generator: np.random.Generator, pool: Pool, steps: int, batch: int, probability: float
) -> Draws:
    """What a trial's steps see, mixed in the named way. Raises `UserError` for an unknown name."""
    if way not in WAYS:
        raise UserError(f"There is no mixing {way!r}: use one of {', '.join(WAYS)}.")
    return WAYS[way](generator, pool, steps, batch, probability)


def shares_of(way: str, pool: Pool, probability: float) -> NDArray[np.float64]:
    """How often each image of the pool is drawn in the named way, [real + synthetic]; they add up to one.

    Of the two-term loss, what each image's loss weighs. Raises `UserError` as the draws do.
    """
    draw_indices(way, np.random.default_rng(0), pool, 0, 2, probability)
    real, synthetic = np.full(pool.real, 1 / pool.real), np.zeros(pool.synthetic)
    if pool.synthetic and way == "per-image-replacement":
        copies = np.bincount(pool.source, minlength=pool.real)
        real[copies > 0] *= 1 - probability
        synthetic = probability / pool.real / copies[pool.source]
    elif pool.synthetic:
        everything = pool.real + pool.synthetic
        share = {"concatenation": pool.synthetic / everything, "synthetic-only": 1.0}.get(way, probability)
        real *= 1 - share
        synthetic = np.full(pool.synthetic, share / pool.synthetic)
    return np.concatenate([real, synthetic])


def check_probability(value: float) -> None:
    """Raises `UserError` unless the value is a probability."""
    if not 0 <= value <= 1:
        raise UserError(f"synthetic_probability is {value}: it must be between 0 and 1.")


def _choices(
    generator: np.random.Generator, pool: Pool, shape: tuple[int, int], probability: float
) -> tuple[Rows, NDArray[np.bool_], NDArray[np.float64]]:
    """Real images, whether each is replaced, and a number in [0, 1) to choose the replacement by."""
    check_probability(probability)
    real = generator.integers(pool.real, size=shape)
    return real, generator.random(shape) < probability, generator.random(shape)


def _alike(images: Rows) -> Draws:
    return Draws(images, np.ones(images.shape, np.float32))
