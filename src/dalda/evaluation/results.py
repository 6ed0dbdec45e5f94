"""Outcomes by arm, and as rows of one tidy table."""

from collections.abc import Sequence
from typing import Any

from dalda.evaluation.summary import summary
from dalda.types import Outcome

COLUMNS = ("dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value")


def by_arm(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes grouped by arm, in order."""
    arms: dict[str, list[Outcome]] = {}
    for one in outcomes:
        arms.setdefault(one.arm, []).append(one)
    return arms


def rows_of(outcome: Outcome) -> list[dict[str, Any]]:
    """The tidy rows of one trial: after the last epoch, and the best epoch under that name alone."""
    found = summary([outcome])
    last = {
        "accuracy": outcome.accuracy,
        "macro_accuracy": found.macro_accuracy.mean,
        "loss": outcome.loss,
        "calibration_error": outcome.calibration_error,
        **{f"accuracy {name}": value for name, value in found.class_accuracy.items()},
    }
    values = [("last", metric, value) for metric, value in last.items()]
    values.append(("best", "best_epoch_accuracy", found.best_epoch_accuracy))
    common = {
        "dataset": outcome.dataset,
        "arm": outcome.arm,
        "seed": outcome.seed,
        "shots": outcome.shots,
    }
    return [
        {**common, "epoch": epoch, "split": "val", "metric": metric, "value": value}
        for epoch, metric, value in values
    ]
