"""Results as lines and as JSON: one form for all, strangers' text is harmless, and there is no NaN."""

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from dalda import workflows
from dalda.cli.output.lines import _LINES, describe, json_of, lines_of
from dalda.evaluation.verdict import Answer
from dalda.types import Interval
from dalda.workflows import reports


def test_every_report_of_a_workflow_has_lines() -> None:
    names = [module.name for module in iter_modules(workflows.__path__)]
    modules = [import_module(f"dalda.workflows.{name}") for name in names]
    results = {
        name for module in modules for name, value in vars(module).items() if isinstance(value, type)
    }
    known = {name for name in results if name.endswith(("Report", "DryRun", "Export"))}
    assert len(known) > 12
    assert known <= set(_LINES)


def test_an_augment_run_in_words() -> None:
    report = reports.AugmentReport(
        Path("out"),
        12,
        6,
        4,
        2,
        3.0,
        {"of one colour": 2},
        {"not a number": 1},
        ("'a.png' is cut short",),
        4,
    )
    assert lines_of(report) == [
        "6 images generated in 3 s: out",
        "4 of 12 existed already",
        "1 were generated a second time (not a number: 1)",
        "2 were dropped (of one colour: 2); out/dropped.jsonl lists them",
        "skipped: 'a.png' is cut short",
    ]


def test_a_table_of_arms_aligns_whatever_their_names() -> None:
    report = reports.DemoReport(
        verdict="A verdict.",
        arms={"real": Interval(0.5, 0.4, 0.6), "花": Interval(0.25, None, None)},
        groups={"known": {"real": 1.0, "花": 0.5}},
        gain=Interval(-0.25, None, None),
        answer=Answer({}, ()),
        comparisons=(),
        problem="A problem.",
        figure=Path("a.png"),
        sheet=Path("b.png"),
        report=Path("report.html"),
        images=0,
        seconds=1.0,
    )
    assert lines_of(report)[:5] == [
        "A verdict.",
        "",
        "arm   accuracy, % (95 % interval)  known",
        "real          50.0 (40.0 to 60.0)  100.0",
        "花                           25.0   50.0",
    ]


def test_names_cannot_steer_the_terminal() -> None:
    text = describe(reports.ReviewReport(Path("a\x1b[2Jb"), 3, 1, 1))
    assert "\x1b" not in text
    assert r"a\x1b[2Jb/review.jsonl" in text


def test_an_unknown_result_is_a_bug() -> None:
    with pytest.raises(KeyError):
        lines_of(reports.NearDuplicate(Path("a"), Path("b"), 1.0))


@dataclass(frozen=True)
class Inner:
    """A result within a result."""

    share: float
    names: tuple[str, ...]


def test_a_result_is_plain_json() -> None:
    report = reports.AugmentReport(Path("out"), 12, 6, 6, 0, 3.0, {"blank": 1})
    found = json.loads(json.dumps(json_of(report), allow_nan=False))
    assert (found["out"], found["dropped_for"], found["images_per_second"]) == ("out", {"blank": 1}, 2.0)


def test_numbers_that_are_not_finite_are_null() -> None:
    nested = {1: Inner(float("nan"), ("a",)), 2: [float("inf"), True, None]}
    assert json_of(nested) == {"1": {"share": None, "names": ["a"]}, "2": [None, True, None]}
