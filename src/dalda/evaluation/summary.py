"""What an arm's trials say together: means over seeds, with intervals where one number decides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalda.evaluation.statistics import Interval, accuracy_interval
from dalda.types import TrialResult


@dataclass(frozen=True)
class Summary:
    """The numbers of one arm at one number of shots, over its seeds."""

    accuracy: Interval
    """Top-1 over all validation images (micro), after the last epoch."""
    macro_accuracy: Interval
    """The mean over classes of the accuracy within each."""
    best_epoch_accuracy: float
    """The mean of each seed's best epoch, chosen on the very images it is reported on: it flatters."""
    loss: float
    calibration_error: float
    class_accuracy: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    """Summed over seeds, by true class (outer) and by the class that was seen (inner)."""
    accuracy_by_seed: dict[int, float]
    real_images: int
    synthetic_images: int


def summary(results: Sequence[TrialResult]) -> Summary:
    """The numbers of one arm's results, one per seed, all on the same validation images."""
    first = results[0]
    classes = np.array([one.class_accuracy for one in results], float)
    errors = [one.calibration_error for one in results if one.calibration_error is not None]
    return Summary(
        accuracy=accuracy_interval([one.accuracy for one in results]),
        macro_accuracy=accuracy_interval(np.nanmean(classes, axis=1)),
        best_epoch_accuracy=float(
            np.mean([max(one.epoch_accuracy, default=one.accuracy) for one in results])
        ),
        loss=float(np.mean([one.loss for one in results])),
        calibration_error=float(np.mean(errors)) if errors else np.nan,
        class_accuracy=dict(zip(first.classes, classes.mean(0).tolist(), strict=True)),
        confusion=tuple(map(tuple, np.sum([one.confusion for one in results], axis=0).tolist())),
        accuracy_by_seed={one.seed: one.accuracy for one in results},
        real_images=first.real_images,
        synthetic_images=first.synthetic_images,
    )
