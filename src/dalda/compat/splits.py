"""The split of the original DALDA code: one generator for all classes, and each part's list halved."""

from collections.abc import Sequence

import numpy as np

from dalda.datasets.few_shot import Indices, SplitStrategy


def original_orders(classes: Sequence[str], counts: Sequence[int], seed: int) -> list[Indices]:
    """A permutation for each class, all from one generator, class by class."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(count) for count in counts]


ORIGINAL = SplitStrategy(original_orders, halves_each_list=True)
