"""The classes that images are generated for, and how many real images they have."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dalda.config import AugmentConfig
from dalda.errors import UserError
from dalda.progress import say
from dalda.terminal import did_you_mean
from dalda.types import FewShotSplit


def refuse_wrong_classes(config: AugmentConfig, split: FewShotSplit) -> None:
    """Raises UserError for an unknown class to generate for, and where both options choose classes."""
    unknown = sorted(set(config.only_classes) - set(split.classes))
    if unknown:
        near = did_you_mean(unknown[0], split.classes) or f"; it has {', '.join(split.classes[:9])}"
        raise UserError(f"--only-classes: the data set has no class '{unknown[0]}'{near}")
    if config.hardest is not None and config.only_classes:
        raise UserError("--hardest chooses the classes itself; leave --only-classes out")


def source_count(config: AugmentConfig, split: FewShotSplit) -> int:
    """How many real images a set is made from, at most: which classes are the hardest is not known yet."""
    counted = Counter(image.label for image in split.images)
    if config.only_classes:
        return sum(counted[name] for name in config.only_classes)
    return sum(sorted(counted.values(), reverse=True)[: config.hardest])


def chosen_classes(
    config: AugmentConfig, split: FewShotSplit, features: Callable[[], NDArray[np.float32]]
) -> frozenset[str]:
    """The classes to generate for. Raises UserError for an unknown class."""
    refuse_wrong_classes(config, split)
    if config.hardest is None:
        return frozenset(config.only_classes or split.classes)
    from dalda.evaluation.hardest_classes import hardest_classes

    labels = [image.label for image in split.images]
    hardest = hardest_classes(features(), labels, config.hardest, config.seed)
    say(f"note: the hardest classes are {', '.join(hardest)}")
    return frozenset(hardest)
