"""The lines that a person reads, for each kind of result."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from dalda.cli.output import datasets, evaluation, studies, synthetic
from dalda.terminal import printable

_LINES: dict[str, Callable[[Any], list[str]]] = {
    "AugmentDryRun": synthetic.augment_dry_run,
    "AugmentReport": synthetic.augment,
    "CaptionReport": synthetic.captions,
    "DemoReport": studies.demo,
    "DownloadReport": datasets.download,
    "EvaluateReport": evaluation.evaluate,
    "ExportReport": synthetic.export,
    "FewShotSplit": datasets.split,
    "ImportReport": synthetic.import_original,
    "MachineReport": datasets.doctor,
    "PageReport": synthetic.page,
    "ReviewReport": synthetic.review,
    "ScoreReport": datasets.score,
    "StudyDryRun": studies.dry_run,
    "StudyReport": studies.study,
    "TrainReport": evaluation.train,
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
