"""What a trial is: which images it may draw, how long it trains, and what came out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.evaluation.features import ImageFile
from dalda.evaluation.mixing import Draws, Pool, draw_indices, pool_of, shares_of
from dalda.evaluation.statistics import calibration_error, confusion
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, RealImage, SyntheticImage, TrialResult

Labels = NDArray[np.int64]
IMAGE_DIGITS = 12
"""Of an image's hash, enough to distinguish a data set's images."""


@dataclass(frozen=True)
class Trial:
    """One classifier to be trained: on the split's real images and on their synthetic copies."""

    arm: str
    seed: int
    split: FewShotSplit
    synthetic: tuple[SyntheticImage, ...] = ()
    """All made from images of the split."""
    synthetic_probability: float = 0.5
    mixing: str = "per-image-replacement"
    """A way of `dalda.evaluation.mixing.WAYS`."""
    sample_weights: tuple[float, ...] | None = None
    """What each synthetic image's loss is multiplied by; None is 1 for all."""
    soft_labels: bool = True
    """Whether soft labels are learned, where images have them."""
    head: str | None = None
    """A head of its own (`dalda.evaluation.heads`); None is the run's."""
    classical: bool = False
    """With the classical augmentation that cross-validation on its real images chooses."""

    @cached_property
    def pool(self) -> Pool:
        """The images by number. Raises `UserError` where the synthetic ones are not of this split."""
        return pool_of(self.split.images, self.synthetic)[0]

    @property
    def replayed(self) -> int:
        """Real images in place of synthetic ones."""
        real = {image.path for image in self.split.images}
        return sum(image.path in real for image in self.synthetic)

    @property
    def items(self) -> list[RealImage | SyntheticImage]:
        """The images of the pool, in its order."""
        return [*self.split.images, *self.synthetic]

    @property
    def labels(self) -> Labels:
        """Their classes by number, [real + synthetic]."""
        return labels_of(self.items, self.split.classes)

    @property
    def targets(self) -> tuple[Labels, NDArray[np.float32]]:
        """Class numbers and their shares, each [real + synthetic, k]; a share of 0 fills up short rows.

        Raises `UserError` for a soft label of an unknown class, or whose shares do not sum to one.
        """
        rows = [
            item.soft_label if self.soft_labels and isinstance(item, SyntheticImage) else ()
            for item in self.items
        ]
        width = max(1, *map(len, rows))
        numbers = np.repeat(self.labels[:, None], width, 1)
        shares = np.zeros(numbers.shape, np.float32)
        shares[:, 0] = 1
        places = {name: place for place, name in enumerate(self.split.classes)}
        for number, row in enumerate(rows):
            if not row:
                continue
            if not {name for name, _ in row} <= places.keys() or abs(sum(x for _, x in row) - 1) > 1e-6:
                raise UserError(
                    f"The soft label of {self.items[number].path.name} is {dict(row)}: its shares must sum "
                    "to one over classes of the data set; make the synthetic images again."
                )
            numbers[number, : len(row)] = [places[name] for name, _ in row]
            shares[number] = [*(share for _, share in row), *[0.0] * (width - len(row))]
        return numbers, shares

    def draws(self, schedule: "Schedule") -> Draws:
        """The images of each step; the arm is no label, so that arms of a seed share real draws."""
        generator = generator_of(self.seed, "draws")
        steps = schedule.epochs * schedule.iterations
        drawn = draw_indices(
            self.mixing, generator, self.pool, steps, schedule.batch, self.synthetic_probability
        )
        weights = self._item_weights
        return drawn if weights is None else Draws(drawn.images, drawn.weights * weights[drawn.images])

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of each item in the loss of a head that learns from all of them at once; they add up to one."""
        shares = shares_of(self.mixing, self.pool, self.synthetic_probability)
        weights = self._item_weights
        if weights is not None:
            shares = shares * weights
        return shares / max(float(shares.sum()), np.finfo(np.float64).tiny)

    @property
    def _item_weights(self) -> NDArray[np.float32] | None:
        """What each item's loss is multiplied by; None is 1 for all."""
        if self.sample_weights is None:
            return None
        if len(self.sample_weights) != len(self.synthetic):
            raise UserError(
                f"There are {len(self.sample_weights)} sample weights for {len(self.synthetic)} synthetic "
                "images: give one for each."
            )
        return np.array([*[1.0] * self.pool.real, *self.sample_weights], np.float32)


@dataclass(frozen=True)
class Schedule:
    """How long a classifier is trained, the same for every arm; None is the backbone's own."""

    epochs: int = 50
    iterations: int = 200
    """Steps per epoch."""
    batch: int = 32
    learning_rate: float | None = None
    head_init: str = "zero-shot"
    """`zero-shot`: from class names, for a CLIP; `random`: as torch starts a linear layer."""


def check(trial: Trial, validation: FewShotSplit) -> None:
    """Raises `UserError` where a trial cannot be trained or compared."""
    split = trial.split
    if split.classes != validation.classes:
        odd = sorted(set(split.classes) ^ set(validation.classes))
        raise UserError(
            f"Training and validation have different classes ({', '.join(odd[:5]) or 'another order'}): "
            "use two parts of one data set."
        )
    check_classes(trial)
    if not validation.images:
        raise UserError("There are no validation images: the accuracy cannot be measured.")
    empty = _without(validation)
    if empty:
        raise UserError(
            f"{len(empty)} classes have no validation image ({', '.join(empty[:5])}): add some."
        )


def check_classes(trial: Trial) -> None:
    """Raises `UserError` for fewer than two classes, and for a class without training images."""
    if len(trial.split.classes) < 2:
        raise UserError("A classifier needs at least two classes: this data set has one.")
    empty = _without(trial.split)
    if empty:
        raise UserError(f"{len(empty)} classes have no training image ({', '.join(empty[:5])}): add some.")


def _without(split: FewShotSplit) -> list[str]:
    """The classes of which a split has no image."""
    labels = {image.label for image in split.images}
    return [name for name in split.classes if name not in labels]


def labels_of(items: Sequence[RealImage | SyntheticImage], classes: Sequence[str]) -> Labels:
    """Class numbers in the order of `classes`, [n]."""
    number = {name: place for place, name in enumerate(classes)}
    return np.array([number[item.label] for item in items], dtype=np.int64)


def image_file(item: RealImage | SyntheticImage) -> ImageFile:
    """The item's file and the hash of its bytes. Raises `UserError` for a synthetic image that is gone."""
    if isinstance(item, RealImage):
        return ImageFile(item.path, item.sha256)
    try:
        state = item.path.stat()
        return ImageFile(item.path, _hash_of(item.path, state.st_mtime_ns, state.st_size))
    except OSError as error:
        raise UserError(f"The synthetic image {item.path} cannot be read: make it again.") from error


@cache
def _hash_of(path: Path, changed: int, size: int) -> str:
    """Of the file's bytes, which many trials ask for; read again where the file has changed."""
    return sha256_of(path)


def result_of(
    trial: Trial,
    validation: FewShotSplit,
    probabilities: NDArray[np.float64],
    epoch_accuracy: Sequence[float],
) -> TrialResult:
    """The numbers of a classifier from its probabilities of validation images, [images, classes].

    Raises `UserError` for probabilities that are no numbers, as after a training that diverged.
    """
    if not np.isfinite(probabilities).all():
        raise UserError(
            f"The training of {trial.arm}, seed {trial.seed}, diverged: its probabilities are no numbers. "
            "Train the head alone (--finetune head), or use another backbone."
        )
    labels = labels_of(validation.images, validation.classes)
    predicted = probabilities.argmax(1)
    correct, counts = predicted == labels, confusion(predicted, labels, len(validation.classes))
    likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).tiny)
    return TrialResult(
        dataset=trial.split.dataset,
        arm=trial.arm,
        seed=trial.seed,
        shots=trial.split.shots,
        classes=validation.classes,
        accuracy=float(correct.mean()),
        class_accuracy=tuple((counts.diagonal() / counts.sum(1)).tolist()),
        loss=float(-np.log(likelihood).mean()),
        real_images=trial.pool.real,
        synthetic_images=len(trial.synthetic) - trial.replayed,
        right=tuple(correct.tolist()),
        calibration_error=calibration_error(probabilities, labels),
        confusion=tuple(map(tuple, counts.tolist())),
        epoch_accuracy=tuple(epoch_accuracy),
        images=tuple(image.sha256[:IMAGE_DIGITS] for image in validation.images),
    )
