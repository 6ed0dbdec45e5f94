"""A result as JSON, and as the lines that a person reads."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from dalda.cli.output import evaluation, studies, synthetic
from dalda.terminal import printable

_LINES: dict[str, Callable[[Any], list[str]]] = {
    "AugmentDryRun": synthetic.augment_dry_run_lines,
    "AugmentReport": synthetic.augment_lines,
    "CalibrateReport": synthetic.calibrate_lines,
    "CaptionReport": synthetic.captions_lines,
    "CompareReport": studies.compare_lines,
    "DatasetReport": evaluation.dataset_lines,
    "ClassifierExport": evaluation.classifier_export_lines,
    "DemoReport": studies.demo_lines,
    "EvaluateReport": evaluation.evaluate_lines,
    "ExportReport": synthetic.export_lines,
    "ImportReport": synthetic.import_original_lines,
    "MergeReport": synthetic.merge_lines,
    "ModelsReport": synthetic.models_lines,
    "PageReport": synthetic.page_lines,
    "PredictReport": evaluation.predict_lines,
    "PushReport": synthetic.push_lines,
    "ReviewReport": synthetic.review_lines,
    "StudyDryRun": studies.study_dry_run_lines,
    "StudyReport": studies.study_lines,
    "TrainReport": evaluation.train_lines,
}
"""By the name of the result's class, so that no stage is imported for the others' results."""


def json_of(value: Any) -> Any:
    """Plain JSON values: a dataclass is an object of its fields and properties, a path is a string.

    A number that is not finite is null, since JSON has none.
    """
    if is_dataclass(value):
        properties = [name for name, kind in vars(type(value)).items() if isinstance(kind, property)]
        names = [field.name for field in fields(value)] + properties
        return {name: json_of(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): json_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def lines_of(result: Any) -> list[str]:
    """The result of a workflow as lines of text."""
    if is_dataclass(result):
        return _LINES[type(result).__name__](result)
    if isinstance(result, Mapping):
        return [f"{name}: {value}" for name, value in result.items()]
    return str(result).splitlines()


def describe(result: Any) -> str:
    """The result of any dalda function as the text that its command prints."""
    return "\n".join(printable(line) for line in lines_of(result))
