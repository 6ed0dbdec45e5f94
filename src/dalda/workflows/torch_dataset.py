"""Real and synthetic images in one `torch.utils.data.Dataset`, for people with their own training loop."""

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from dalda.datasets.image_io import open_image
from dalda.evaluation.mixing import check_probability, pool_of
from dalda.evaluation.trial import labels_of
from dalda.seeding import generator_of
from dalda.storage import path_of
from dalda.types import FewShotSplit, RealImage, SyntheticImage
from dalda.workflows.synthetic_sets import synthetic_set

VISITS_PER_EPOCH = 2**20


class MixedDataset(Dataset[tuple[Any, int]]):
    """As long as the real images; item i is image i, or with the probability one of its copies at random.

    `real` is what `dalda.sample_few_shot` gives; `synthetic` is a folder of `dalda augment` (without what
    was rejected in a review) or the synthetic images themselves. An item is
    (`transform(image)`, class number), the image being upright RGB.
    Raises UserError for a folder that does not belong to these real images.

    The draw depends on the seed, on i, and on how often i was asked for. That count lies in memory that
    all DataLoader workers share, so every epoch makes new draws, the same for any number of workers.
    Workers look ahead, though: after an epoch that was cut short, and where several processes train
    together, each with counts of its own, `set_epoch` before every epoch says where the counts stand.
    """

    def __init__(
        self,
        real: FewShotSplit,
        synthetic: str | Path | Sequence[SyntheticImage],
        synthetic_probability: float = 0.5,
        seed: int = 0,
        *,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        check_probability(synthetic_probability)
        if isinstance(synthetic, str | Path):
            synthetic = synthetic_set(path_of(synthetic)).images
        pool, in_pool = pool_of(real.images, synthetic)
        self.items: list[RealImage | SyntheticImage] = [*real.images, *in_pool]
        self.labels: list[int] = labels_of(self.items, real.classes).tolist()
        self.synthetic = tuple(in_pool)
        self.copies = [
            (np.flatnonzero(pool.source == number) + pool.real).tolist() for number in range(pool.real)
        ]
        self.synthetic_probability = synthetic_probability
        self.seed = operator.index(seed)
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
        image = open_image(self.items[number].path)
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
