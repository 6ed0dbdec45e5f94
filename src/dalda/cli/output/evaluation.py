"""Lines about data sets, classifiers and the quality of synthetic sets."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from dalda.cli.output.numbers import counted, excluded_lines, percent, rejected_lines
from dalda.terminal import table

if TYPE_CHECKING:
    from dalda.workflows.classifier import PredictReport
    from dalda.workflows.inspect_dataset import DatasetReport
    from dalda.workflows.reports import ClassifierExport, EvaluateReport, TrainReport

SHOWN = 40
"""Classes in a table; a data set of thousands would push the findings off the screen."""
EXAMPLES = 5
MEASURES = {
    "synthetic_images": "images",
    "clip_probability": "CLIP",
    "kid": "KID",
    "cmmd": "CMMD",
    "density": "density",
    "coverage": "coverage",
    "vendi_score": "Vendi",
    "mean_distance": "distance",
    "near_duplicates": "duplicates",
    "off_class": "off-class",
}
"""The measures of a synthetic set, and the headings of their columns."""


def dataset_lines(report: "DatasetReport") -> list[str]:
    parts = list(report.split)
    rows = [(label, *counts.values()) for label, counts in report.classes.items()]
    lines = table([("class", *parts), *rows[:SHOWN]])
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more classes (--json lists all)")
    used = ", ".join(f"{count} for {part}" for part, count in report.split.items())
    lines.append(f"{len(rows)} classes, {sum(report.split.values())} images: {used}")
    if report.shorter_side:
        sides = ", ".join(f"{name} {side}" for name, side in report.shorter_side.items())
        lines.append(f"shorter side in pixels: {sides}")
    if report.imbalance > 1:
        lines.append(
            f"the largest class has {report.imbalance:g} times the training images of the smallest"
        )
    return [*lines, *_findings(report)]


def _findings(report: "DatasetReport") -> list[str]:
    lines = [f"cannot be used: {sentence}" for sentence in report.bad[:EXAMPLES]]
    if len(report.bad) > EXAMPLES:
        lines.append(f"and {len(report.bad) - EXAMPLES} more images that cannot be used")
    if report.duplicates:
        lines.append(f"duplicates within a part: {counted(report.duplicates, 'image')}")
    lines += report.leakage
    if report.unclear:
        from dalda.datasets.class_names import unclear_sentence

        lines.append(unclear_sentence(report.unclear, report.root))
    return lines or ["nothing suspicious was found"]


def evaluate_lines(report: "EvaluateReport") -> list[str]:
    qualities = {"all": report.overall, **report.classes}
    rows = [
        [name, *(_short(asdict(quality)[key]) for key in MEASURES)] for name, quality in qualities.items()
    ]
    lines = table([["class", *MEASURES.values()], *rows])
    low = "low is better for KID, CMMD, duplicates and off-class, high for the others"
    lines.append(f"features of {report.backbone}; {low}; docs/trials.md explains each measure")
    return lines + rejected_lines(report.rejected_in_review)


def train_lines(report: "TrainReport") -> list[str]:
    lines = list(report.answer.sentences)
    rows = [
        (
            name,
            arm.accuracy.text(),
            report.gains[name].gain.text("+") if name in report.gains else "",
            percent(arm.macro_accuracy.mean),
            percent(arm.calibration_error),
        )
        for name, arm in report.arms.items()
    ]
    lines += table(
        [("arm", "accuracy, % (95 % interval)", "against real, points", "macro", "calibration"), *rows]
    )
    lines += excluded_lines(report.excluded)
    seeds = max(len(arm.accuracy_by_seed) for arm in report.arms.values())
    if seeds > 1:
        lines.append(
            f"the {seeds} seeds vary the training only, on one choice of real images and one synthetic "
            "set; in dalda run each seed draws all three"
        )
    if report.out:
        lines += [f"results: {report.out}/results.csv", f"classifiers: dalda predict {report.out} IMAGES"]
    return lines


def predict_lines(report: "PredictReport") -> list[str]:
    rows = [(x.label, percent(x.confidence), str(x.image)) for x in report.predictions]
    lines = table([("class", "confidence, %", "image"), *rows])
    lines.append(f"by the classifier of '{report.arm}', seed {report.seed}, on {report.backbone}")
    if report.skipped:
        lines.append(f"{len(report.skipped)} images could not be used and were skipped")
    if report.accuracy is not None:
        count = counted(len(report.predictions), "image")
        lines.append(f"accuracy {percent(report.accuracy)} % of {count}, by the names of their folders")
    return [*lines, *([f"predictions: {report.out}"] if report.out else [])]


def classifier_export_lines(report: "ClassifierExport") -> list[str]:
    return [
        f"the classifier of '{report.arm}', seed {report.seed}, for {report.classes} classes: {report.out}",
        f"it reads preprocessed images of {report.size} x {report.size} pixels; in onnxruntime its "
        f"probabilities differ by at most {report.largest_difference:.1e} from torch's",
    ]


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
