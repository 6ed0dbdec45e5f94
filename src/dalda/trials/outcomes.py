"""Outcomes on disk: one tidy table, and one file per trial."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dalda.records import Outcome, as_dict
from dalda.trials.summary import summary

COLUMNS = ("dataset", "arm", "seed", "shots", "epoch", "split", "metric", "value")


def by_arm(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes grouped by arm, in order."""
    arms: dict[str, list[Outcome]] = {}
    for one in outcomes:
        arms.setdefault(one.arm, []).append(one)
    return arms


def save_outcomes(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """results.csv, tidy, and one JSON file per trial with all that was measured."""
    import pandas as pd

    (folder / "outcomes").mkdir(parents=True, exist_ok=True)
    for one in outcomes:
        text = json.dumps(as_dict(one), ensure_ascii=False)
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        (folder / "outcomes" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    rows = [row for one in outcomes for row in rows_of(one)]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "results.csv", index=False)


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
