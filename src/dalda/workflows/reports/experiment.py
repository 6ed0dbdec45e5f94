"""What came of a whole study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.workflows.reports.table import left_out_line, table

if TYPE_CHECKING:
    from dalda.evaluation.comparison import ArmNumbers


@dataclass(frozen=True)
class StudyReport:
    """What a run of a study did, and what its trials say so far."""

    out: Path
    trials: int
    trained: int
    generated: int
    seconds: float
    arms: "Mapping[str, ArmNumbers]"
    """Accuracies by shots (`all` is no limit), and gains over the real arm, where there is one."""
    excluded: Mapping[str, Mapping[str, int]]
    """Arm to reason to how many synthetic images its trials did not use, over all shots and seeds."""

    def as_json(self) -> dict[str, Any]:
        counts = {"trials": self.trials, "trained": self.trained, "generated": self.generated}
        return {
            **{"out": str(self.out), **counts, "seconds": self.seconds},
            "arms": {
                arm: {shots: asdict(one.accuracy) for shots, one in numbers.summaries.items()}
                for arm, numbers in self.arms.items()
            },
            "gains": {
                arm: {shots: asdict(one.gain) for shots, one in numbers.gains.items()}
                for arm, numbers in self.arms.items()
                if numbers.gains
            },
            "excluded": {arm: dict(found) for arm, found in self.excluded.items()},
        }

    def lines(self) -> list[str]:
        done = f"{self.trained} of {self.trials} trials trained, {self.generated} images generated"
        return [
            *self._sentences(),
            "accuracy, % (95 % interval over seeds)",
            *self._table(),
            *(left_out_line(arm, found) for arm, found in self.excluded.items()),
            f"{done}, in {self.seconds:.0f} s; the others were there",
            f"results: {self.out}/results.csv",
        ]

    def _sentences(self) -> list[str]:
        overall = [numbers.overall for numbers in self.arms.values() if numbers.overall is not None]
        several = any(len(numbers.gains) > 1 for numbers in self.arms.values())
        return [
            *(one.sentence() for one in overall),
            *(["(each averaged over the numbers of shots)"] if several and overall else []),
        ]

    def _table(self) -> list[str]:
        shots = list(dict.fromkeys(key for numbers in self.arms.values() for key in numbers.summaries))
        heading = "".join(f"{key + (' shot' if key == '1' else ' shots'):<26}" for key in shots)
        rows = {}
        for arm, numbers in self.arms.items():
            cells = (numbers.summaries.get(key) for key in shots)
            rows[arm] = "".join(f"{one.accuracy.text() if one else '':<26}" for one in cells).rstrip()
        return table(rows, heading.rstrip())


@dataclass(frozen=True)
class StudyPreview:
    """What a run of a study would do."""

    out: Path
    arms: tuple[str, ...]
    trials: int
    missing_trials: int
    synthetic_sets: int
    images: int
    missing_images: int
    generating_seconds: float | None
    """Measured on one small batch of each model, extrapolated; None where a model could not be tried."""
    training_seconds: float | None
    megabytes: float

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out), "arms": list(self.arms)}

    def lines(self) -> list[str]:
        def said(seconds: float | None) -> str:
            return "unknown time" if seconds is None else f"about {seconds:.0f} s"

        return [
            f"{len(self.arms)} arms: {', '.join(self.arms)}",
            f"{self.missing_trials} of {self.trials} trials to train: {said(self.training_seconds)}",
            f"{self.missing_images} of {self.images} images to generate, for {self.synthetic_sets} sets: "
            f"{said(self.generating_seconds)}, about {self.megabytes:.1f} MB",
            f"results would go to {self.out}; nothing was made",
        ]
