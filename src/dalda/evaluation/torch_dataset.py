"""Real and synthetic images in one `torch.utils.data.Dataset`, for people with their own training loop."""

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from dalda.evaluation.mixing import check_probability, pool_of
from dalda.evaluation.trial import labels_of
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, RealImage, SyntheticImage

VISITS_PER_EPOCH = 2**20


class MixedImageDataset(Dataset[tuple[Any, int]]):
    """As long as the real images; item i is image i, or with the probability one of its copies at random.

    The draw depends on the seed, on i, and on how often i was asked for. That count lies in memory that
    all DataLoader workers share, so every epoch makes new draws, the same for any number of workers.
    Workers look ahead, though: after an epoch that was cut short, and where several processes train
    together, each with counts of its own, `set_epoch` before every epoch says where the counts stand.
    """

    def __init__(
        self,
        real: FewShotSplit,
        synthetic: Sequence[SyntheticImage],
        synthetic_probability: float = 0.5,
        seed: int = 0,
        *,
        open_image: Callable[[Path], Image.Image],
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        """`transform` makes of an image what the loop wants. Raises `UserError` as `pool_of` does."""
        check_probability(synthetic_probability)
        pool, in_pool = pool_of(real.images, synthetic)
        self.items: list[RealImage | SyntheticImage] = [*real.images, *in_pool]
        self.labels: list[int] = labels_of(self.items, real.classes).tolist()
        self.synthetic = tuple(in_pool)
        self.copies = [
            (np.flatnonzero(pool.source == number) + pool.real).tolist() for number in range(pool.real)
        ]
        self.synthetic_probability = synthetic_probability
        self.seed = operator.index(seed)
        self.open_image = open_image
        self.transform = transform
        self._visits = torch.zeros(pool.real, dtype=torch.int64)
        self._visits.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.copies)

    def __getitem__(self, index: SupportsIndex) -> tuple[Any, int]:
        """An image (transformed) and its class number; from the end where the index is negative.

        Raises IndexError beyond the real images.
        """
        index = range(len(self))[index]
        number = self.choose(index, int(self._visits[index]))
        self._visits[index] += 1
        image = self.open_image(self.items[number].path)
        return (image if self.transform is None else self.transform(image)), self.labels[number]

    def choose(self, index: int, visit: int) -> int:
        """Which of `items` a visit of a real image shows."""
        generator = generator_of(self.seed, "mixed", index, visit)
        copies = self.copies[index]
        if copies and generator.random() < self.synthetic_probability:
            return int(copies[generator.integers(len(copies))])
        return index

    def set_epoch(self, epoch: int) -> None:
        """Starts an epoch at draws of its own, whatever was asked for before: call it between epochs."""
        self._visits.fill_(operator.index(epoch) * VISITS_PER_EPOCH)
