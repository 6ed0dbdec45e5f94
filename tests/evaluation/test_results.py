"""What a run folder writes is what it reads."""

import json
import math
from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.evaluation.results import RunFolder
from dalda.types import TrialResult


def test_a_class_without_images_has_no_accuracy_in_valid_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "dalda train")
    result = TrialResult("d", "a", 0, 1, ("b", "c"), 0.5, (0.5, math.nan), math.nan, 2, 0, (True, False))
    run.keep("id", result)
    assert "NaN" not in run.file("id").read_text()
    stored = json.loads(run.file("id").read_text())
    assert (stored["class_accuracy"], stored["loss"]) == ([0.5, None], None)
    found = run.read("id")
    assert found.class_accuracy[0] == 0.5
    assert math.isnan(found.class_accuracy[1])
    assert math.isnan(found.loss)
    assert found.calibration_error is None


def test_curves_keep_their_gaps(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "dalda run")
    run.keep_part("id", "curves", {"training_loss": [[1.0, math.nan]]})
    assert "NaN" not in run.file("id", "curves").read_text()
    assert str(run.read_part("id", "curves")) == "{'training_loss': [[1.0, nan]]}"
    assert run.read_part("other", "curves") is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("accuracy", 7, "an accuracy that is no share"),
        ("class_accuracy", [0.5, -1], "an accuracy that is no share"),
        ("class_accuracy", [0.5], "not one accuracy per class"),
        ("epoch_accuracy", [3], "an accuracy that is no share"),
        ("confusion", [[1], [1, 2]], "not one count for each pair of classes"),
        ("images", ["a"], "does not name each image"),
    ],
)
def test_numbers_that_cannot_be_are_named(tmp_path: Path, name: str, value: object, words: str) -> None:
    run = RunFolder(tmp_path, "dalda train")
    run.keep("id", TrialResult("d", "a", 0, 1, ("b", "c"), 0.5, (0.5, 0.5), 0.1, 2, 0, (True, False)))
    path = run.file("id")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(UserError, match=f"id.json' (has )?{words}"):
        run.read("id")
