"""The JSON form of results: fields and properties, strict JSON, no NaN."""

import json
from dataclasses import dataclass
from pathlib import Path

from dalda.cli.output import json_of
from dalda.workflows.reports import AugmentReport


@dataclass(frozen=True)
class Inner:
    """A result within a result."""

    share: float
    names: tuple[str, ...]


def test_a_result_is_plain_json() -> None:
    report = AugmentReport(Path("out"), 12, 6, 6, 0, 3.0, {"blank": 1})
    found = json.loads(json.dumps(json_of(report), allow_nan=False))
    assert (found["out"], found["dropped_for"], found["images_per_second"]) == ("out", {"blank": 1}, 2.0)


def test_numbers_that_are_not_finite_are_null() -> None:
    nested = {1: Inner(float("nan"), ("a",)), 2: [float("inf"), True, None]}
    assert json_of(nested) == {"1": {"share": None, "names": ["a"]}, "2": [None, True, None]}
