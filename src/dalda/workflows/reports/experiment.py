"""What came of a whole study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dalda.workflows.reports.table import Bounds, left_out_line, table


@dataclass(frozen=True)
class StudyComparison:
    """The arms of a study at each number of shots (`all` is no limit), and against its real arm."""

    arms: Mapping[str, Mapping[str, Bounds]]
    """Arm to shots to accuracy over seeds."""
    gains: Mapping[str, Mapping[str, Bounds]]
    """The same for the gain over the real arm, paired by seed; empty where there is none."""
    sentences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "arms": {
                arm: {key: asdict(one) for key, one in found.items()} for arm, found in self.arms.items()
            },
            "gains": {
                arm: {key: asdict(one) for key, one in found.items()} for arm, found in self.gains.items()
            },
        }

    def lines(self) -> list[str]:
        shots = list(dict.fromkeys(key for found in self.arms.values() for key in found))
        heading = "".join(f"{key + (' shot' if key == '1' else ' shots'):<26}" for key in shots)
        rows = {
            arm: "".join((found[key].text() if key in found else "").ljust(26) for key in shots).rstrip()
            for arm, found in self.arms.items()
        }
        return [*self.sentences, "accuracy, % (95 % interval over seeds)", *table(rows, heading.rstrip())]


@dataclass(frozen=True)
class StudyReport:
    """What a run of a study did, and what its trials say so far."""

    out: Path
    trials: int
    trained: int
    generated: int
    seconds: float
    comparison: StudyComparison
    excluded: Mapping[str, Mapping[str, int]]
    """Arm to reason to how many synthetic images its trials did not use, over all shots and seeds."""

    def as_json(self) -> dict[str, Any]:
        counts = {"trials": self.trials, "trained": self.trained, "generated": self.generated}
        return {
            **{"out": str(self.out), **counts, "seconds": self.seconds},
            **self.comparison.as_json(),
            "excluded": {arm: dict(found) for arm, found in self.excluded.items()},
        }

    def lines(self) -> list[str]:
        done = f"{self.trained} of {self.trials} trials trained, {self.generated} images generated"
        return [
            *self.comparison.lines(),
            *(left_out_line(arm, found) for arm, found in self.excluded.items()),
            f"{done}, in {self.seconds:.0f} s; the others were there",
            f"results: {self.out}/results.csv",
        ]


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
