"""Results as rows of one tidy table."""

from typing import Any

from dalda.evaluation.comparison import summarize
from dalda.types import TrialResult

COLUMNS = ("dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value")


def rows_of(result: TrialResult) -> list[dict[str, Any]]:
    """The tidy rows of one trial: after the last epoch, and the best epoch under that name alone."""
    found = summarize([result])
    last = {
        "accuracy": result.accuracy,
        "macro_accuracy": found.macro_accuracy.mean,
        "loss": result.loss,
        "calibration_error": result.calibration_error,
        **{f"accuracy {name}": one.mean for name, one in found.class_accuracy.items()},
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
