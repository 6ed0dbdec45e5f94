"""The lines that a person reads, for each kind of result."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from dalda.cli.output import data, evaluation, studies, synthetic
from dalda.terminal import printable

_LINES: dict[str, Callable[[Any], list[str]]] = {
    "AugmentDryRun": synthetic.augment_dry_run_lines,
    "AugmentReport": synthetic.augment_lines,
    "CalibrateReport": synthetic.calibrate_lines,
    "CaptionReport": synthetic.captions_lines,
    "CompareReport": studies.compare_lines,
    "DatasetReport": data.dataset_lines,
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
