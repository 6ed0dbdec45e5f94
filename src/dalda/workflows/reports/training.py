"""What came of training and of the demo."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.types import Interval
from dalda.workflows.reports.table import finite, left_out_line, table

if TYPE_CHECKING:
    from dalda.evaluation.comparison import ArmSummary, Comparison


@dataclass(frozen=True)
class ArmReport:
    """The numbers of one arm, and how many synthetic images it left out, by reason."""

    numbers: "ArmSummary"
    excluded: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        found = self.numbers
        return {
            "accuracy": found.accuracy.mean,
            "low": found.accuracy.low,
            "high": found.accuracy.high,
            "macro_accuracy": asdict(found.macro_accuracy),
            "best_epoch_accuracy": found.best_epoch_accuracy,
            "loss": found.loss,
            "calibration_error": finite(found.calibration_error),
            "class_accuracy": {name: finite(one.mean) for name, one in found.class_accuracy.items()},
            "confusion": found.confusion,
            "accuracy_by_seed": found.accuracy_by_seed,
            "real_images": found.real_images,
            "synthetic_images": found.synthetic_images,
            "excluded": dict(self.excluded),
        }

    def text(self) -> str:
        found = self.numbers
        rest = (found.macro_accuracy.mean, found.best_epoch_accuracy, found.calibration_error)
        return found.accuracy.text().ljust(24) + "".join(f"{one * 100:>13.1f}" for one in rest)


@dataclass(frozen=True)
class TrainReport:
    """The numbers of each arm, and each synthetic arm against `real`, paired by seed and by image."""

    classes: tuple[str, ...]
    arms: Mapping[str, ArmReport]
    gains: "Mapping[str, Comparison]"
    validation_images: int
    out: Path | None

    def as_json(self) -> dict[str, Any]:
        return {
            "arms": {name: one.as_json() for name, one in self.arms.items()},
            "gains": {name: _gain_as_json(one) for name, one in self.gains.items()},
            "classes": self.classes,
            "validation_images": self.validation_images,
            "out": None if self.out is None else str(self.out),
        }

    def lines(self) -> list[str]:
        lines = [line for one in self.gains.values() for line in _gain_lines(one)]
        heading = "accuracy, % (95 %)".ljust(24)
        heading += "".join(f"{name:>13}" for name in ("macro", "best epoch", "calibration"))
        lines += table({name: one.text() for name, one in self.arms.items()}, heading)
        lines += [left_out_line(name, one.excluded) for name, one in self.arms.items() if one.excluded]
        lines += self._seeds()
        return [*lines, *([f"results: {self.out}/results.csv"] if self.out else [])]

    def _seeds(self) -> list[str]:
        """What several seeds vary: less than those of a study do."""
        seeds = max(len(one.numbers.accuracy_by_seed) for one in self.arms.values())
        if seeds == 1:
            return []
        return [
            f"the {seeds} seeds vary the training alone, on one choice of real images and one synthetic",
            "set; in dalda run each seed draws all three",
        ]


def _gain_as_json(found: "Comparison") -> dict[str, Any]:
    return {
        **asdict(found.gain),
        "by_seed": asdict(found.by_seed),
        "by_image": asdict(found.by_image),
        "chance_of_no_gain": found.chance_of_no_gain,
        "verdict": found.sentence(other="real images alone"),
    }


def _gain_lines(found: "Comparison") -> list[str]:
    sentence = found.sentence(other="real images alone")
    if found.chance_of_no_gain is None:
        return [sentence]
    chance = f"chance of no gain {found.chance_of_no_gain * 100:.0f} %"
    return [sentence, f"  these classifiers on other images: {found.by_image.text('+')}; {chance}"]


@dataclass(frozen=True)
class DemoReport:
    """What synthetic images did to the classifier in the embedded world."""

    sentence: str
    arms: Mapping[str, Interval]
    groups: Mapping[str, Mapping[str, float]]
    """Mean accuracy per arm on the known and on the unknown classes."""
    gain: Interval
    comparisons: tuple[str, ...]
    problem: str
    figure: Path
    sheet: Path
    zero_shot: float = 0.0
    """Accuracy of CLIP's own zero-shot classifier, which no image of the few shots has touched."""
    images: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        arms = {
            name: {"accuracy": one.mean, "low": one.low, "high": one.high}
            for name, one in self.arms.items()
        }
        return {
            "arms": arms,
            "gain": asdict(self.gain),
            "groups": self.groups,
            "zero_shot": self.zero_shot,
            "images": self.images,
            "seconds": self.seconds,
            "figure": str(self.figure),
            "sheet": str(self.sheet),
        }

    def lines(self) -> list[str]:
        rows = {
            name: one.text().ljust(24)
            + "".join(f"{group[name] * 100:>14.1f}" for group in self.groups.values())
            for name, one in self.arms.items()
        }
        heading = "accuracy, % (95 % interval)".ljust(24) + "".join(f"{name:>14}" for name in self.groups)
        return [
            self.sentence,
            "",
            *table(rows, heading),
            "",
            *self.comparisons,
            self.problem,
            f"CLIP without training is right in {self.zero_shot * 100:.1f} %: it saw this world before,",
            "and a head that is trained on a few narrow images unlearns some of that.",
            f"{self.images} images generated; {self.seconds:.0f} s in all",
            f"figure: {self.figure}",
            f"sheet: {self.sheet}",
        ]
