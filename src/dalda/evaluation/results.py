"""Results by arm, and as rows of one tidy table."""

from collections.abc import Sequence
from typing import Any

from dalda.evaluation.summary import summary
from dalda.types import TrialResult

COLUMNS = ("dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value")


def by_arm(results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Results grouped by arm, in order."""
    arms: dict[str, list[TrialResult]] = {}
    for one in results:
        arms.setdefault(one.arm, []).append(one)
    return arms


def rows_of(result: TrialResult) -> list[dict[str, Any]]:
    """The tidy rows of one trial: after the last epoch, and the best epoch under that name alone."""
    found = summary([result])
    last = {
        "accuracy": result.accuracy,
        "macro_accuracy": found.macro_accuracy.mean,
        "loss": result.loss,
        "calibration_error": result.calibration_error,
        **{f"accuracy {name}": value for name, value in found.class_accuracy.items()},
    }
    values = [("last", metric, value) for metric, value in last.items()]
    values.append(("best", "best_epoch_accuracy", found.best_epoch_accuracy))
    common = {
        "dataset": result.dataset,
        "arm": result.arm,
        "seed": result.seed,
        "shots": result.shots,
    }
    return [
        {**common, "epoch": epoch, "split": "val", "metric": metric, "value": value}
        for epoch, metric, value in values
    ]
