"""The list of excluded images: added to, never written again as a whole, whatever an earlier stop left."""

from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.evaluation import excluded
from dalda.evaluation.excluded import Excluded, ExcludedLog


def lines_of(number: int) -> list[Excluded]:
    return [
        Excluded("arm", f"{number}-{place}", "seen as cat", "predicted as another class")
        for place in (0, 1)
    ]


def test_a_trial_adds_its_lines_without_writing_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excluded, "write", pytest.fail)
    log = ExcludedLog(tmp_path / "excluded.jsonl")
    for number in range(5):
        log.put(f"trial {number}", lines_of(number))
    log.put("trial 3", lines_of(3))
    log.put("without", [])
    again = ExcludedLog(log.path)
    again.put("trial 4", lines_of(4))
    assert again.counts({"trial 0", "trial 4", "without"}) == {"arm": {"predicted as another class": 4}}
    assert len(log.path.read_text().splitlines()) == 10


@pytest.mark.parametrize("size", range(0, 200, 7))
def test_a_stop_within_a_line_changes_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "excluded.jsonl"
    ExcludedLog(path).put("one", lines_of(1))
    ExcludedLog(path).put("two", lines_of(2))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - size])
    for name, number in (("one", 1), ("two", 2)):
        ExcludedLog(path).put(name, lines_of(number))
    assert path.read_bytes() == whole


def test_other_lines_take_the_place_of_the_earlier_ones(tmp_path: Path) -> None:
    log = ExcludedLog(tmp_path / "excluded.jsonl")
    log.put("one", lines_of(1))
    log.put("two", lines_of(2))
    log.put("one", lines_of(3)[:1])
    assert ExcludedLog(log.path).counts({"one"})["arm"].total() == 1
    assert ExcludedLog(log.path).counts({"two"})["arm"].total() == 2


@pytest.mark.parametrize("text", ["[]", "{", '{"of": "one"}', '{"of": 1, "arm": "a", "kind": "b"}', "\0"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "excluded.jsonl").write_text(f"{text}\n")
    with pytest.raises(UserError, match="excluded"):
        ExcludedLog(tmp_path / "excluded.jsonl").counts({"one"})


def test_trials_that_ended_in_another_order_leave_the_same_lines(tmp_path: Path) -> None:
    planned, other = ["one", "two", "three"], ExcludedLog(tmp_path / "other.jsonl")
    for name in ("three", "of another arm", "one", "two"):
        other.put(name, lines_of(len(name)))
    other.put_in_order([*planned, "without"])
    one = ExcludedLog(tmp_path / "one.jsonl")
    for name in ("of another arm", *planned):
        one.put(name, lines_of(len(name)))
    assert other.path.read_bytes() == one.path.read_bytes()
    assert ExcludedLog(other.path).counts(planned) == {"arm": {"predicted as another class": 6}}
