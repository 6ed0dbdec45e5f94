"""Outcomes on disk: one tidy table, and one file per trial."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from dalda.records import Outcome, as_dict


def by_arm(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes grouped by arm, in order."""
    arms: dict[str, list[Outcome]] = {}
    for one in outcomes:
        arms.setdefault(one.arm, []).append(one)
    return arms


def save_outcomes(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """results.csv, tidy, and one JSON file per trial."""
    import pandas as pd

    (folder / "outcomes").mkdir(parents=True, exist_ok=True)
    rows = []
    for one in outcomes:
        text = json.dumps(as_dict(one), ensure_ascii=False)
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        (folder / "outcomes" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        common = {
            "dataset": one.dataset,
            "arm": one.arm,
            "seed": one.seed,
            "shots": one.shots,
            "epoch": "last",
        }
        values = {"accuracy": one.accuracy, "loss": one.loss}
        values |= {
            f"accuracy {name}": value for name, value in zip(one.classes, one.class_accuracy, strict=True)
        }
        rows += [
            {**common, "split": "val", "metric": metric, "value": value} for metric, value in values.items()
        ]
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)
