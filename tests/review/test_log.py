"""Decisions: the last line wins, none is lost, a torn one is none, and the file only grows."""

import json
import multiprocessing
import time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalda.errors import UserError
from dalda.review.log import REVIEW, ReviewLog, Verdict, current_decisions, rejected


def test_nothing_reviewed_is_nothing_rejected(tmp_path: Path) -> None:
    assert rejected(tmp_path) == frozenset()
    assert ReviewLog(tmp_path).decisions() == []
    assert not list(tmp_path.iterdir())


def test_the_last_line_wins_and_undo_takes_back(tmp_path: Path) -> None:
    for request_id, verdict in [
        ("a", "keep"),
        ("b", "reject"),
        ("a", "reject"),
        ("c", "reject"),
        ("c", "undo"),
    ]:
        ReviewLog(tmp_path).append(request_id, verdict, "page")  # type: ignore[arg-type]
    assert rejected(tmp_path) == {"a", "b"}
    assert {name: one.decision for name, one in current_decisions(tmp_path).items()} == {
        "a": "reject",
        "b": "reject",
    }
    assert [one.decision for one in ReviewLog(tmp_path).decisions()] == [
        "keep",
        "reject",
        "reject",
        "reject",
        "undo",
    ]


def test_the_order_of_the_file_decides_not_the_clock(tmp_path: Path) -> None:
    lines = [("reject", "2030-01-01T00:00:00+00:00"), ("keep", "1999-01-01T00:00:00+00:00")]
    records = [{"request_id": "a", "decision": word, "time": time, "author": "x"} for word, time in lines]
    (tmp_path / REVIEW).write_text("".join(json.dumps(record) + "\n" for record in records))
    assert rejected(tmp_path) == frozenset()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(get_args(Verdict))), min_size=1, max_size=3),
    st.data(),
)
@settings(max_examples=25, deadline=None)
def test_a_stop_within_a_write_costs_that_decision_at_most(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Verdict]], data: st.DataObject
) -> None:
    out = tmp_path_factory.mktemp("out")
    for request_id, verdict in steps:
        ReviewLog(out).append(request_id, verdict, "é")
    written = (out / REVIEW).read_bytes()
    last = written[:-1].rfind(b"\n") + 1
    (out / REVIEW).write_bytes(written[: data.draw(st.integers(last, len(written) - 1))])
    kept = [(one.request_id, one.decision) for one in ReviewLog(out).decisions()]
    assert kept in (steps, steps[:-1])
    ReviewLog(out).append("z", "reject", "é")
    assert [(one.request_id, one.decision) for one in ReviewLog(out).decisions()] == [
        *kept,
        ("z", "reject"),
    ]
    assert (out / REVIEW).read_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    "line",
    [
        '{"request_id": "b", "decision": "burn", "time": "", "author": ""}',
        '{"request_id": "b", "decision": ["keep"], "time": "", "author": ""}',
        '{"request_id": "\\ud800", "decision": "keep", "time": "", "author": ""}',
        '{"request_id": "b"}',
        "3",
        "[" * 200_000,
    ],
    ids=["word", "list", "half a pair", "lacking", "number", "deep"],
)
def test_a_damaged_line_within_is_named(tmp_path: Path, line: str) -> None:
    ReviewLog(tmp_path).append("a", "keep", "page")
    with (tmp_path / REVIEW).open("a") as file:
        file.write(line + "\n")
    ReviewLog(tmp_path).append("c", "reject", "page")
    with pytest.raises(UserError, match="line 2"):
        rejected(tmp_path)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist any more"):
        ReviewLog(tmp_path / "nowhere").append("a", "keep", "page")
    (tmp_path / REVIEW).mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        ReviewLog(tmp_path).append("a", "keep", "page")


def write_many(out: Path, author: str) -> None:
    for number in range(8):
        ReviewLog(out).append(str(number), "reject", author)


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path, author)) for author in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    lines = ReviewLog(tmp_path).decisions()
    assert [sum(one.author == author for one in lines) for author in "xyz"] == [8, 8, 8]


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine.txt"
    out.mkdir()
    mine.write_text("a letter\nits last line is no decision")
    (out / REVIEW).symlink_to(mine)
    for asked in (
        lambda: ReviewLog(out).append("a", "reject", "page"),
        lambda: rejected(out),
        lambda: ReviewLog(out).decisions(),
    ):
        with pytest.raises(UserError, match="is a link to another file"):
            asked()
    assert mine.read_text() == "a letter\nits last line is no decision"


def test_only_what_was_added_is_read_again(tmp_path: Path) -> None:
    log = ReviewLog(tmp_path)
    assert log.decisions() == []
    log.append("a", "keep", "one")
    first = log.decisions()[0]
    ReviewLog(tmp_path).append("b", "reject", "two")
    assert [one.request_id for one in log.decisions()] == ["a", "b"]
    assert log.decisions()[0] is first
    (tmp_path / REVIEW).unlink()
    assert log.decisions() == []


def test_a_file_that_was_replaced_is_read_from_the_start(tmp_path: Path) -> None:
    log = ReviewLog(tmp_path)
    for name in "ab":
        log.append(name, "keep", "one")
    assert len(log.decisions()) == 2
    lines = (tmp_path / REVIEW).read_bytes().replace(b'"a"', b'"c"').replace(b'"b"', b'"d"') * 2
    (tmp_path / REVIEW).write_bytes(lines)
    assert [one.request_id for one in log.decisions()] == ["c", "d", "c", "d"]


def test_a_decision_takes_as_long_after_many_as_after_few(tmp_path: Path) -> None:
    record = {"decision": "keep", "time": "2026-01-01T00:00:00.000+00:00", "author": "page"}
    lines = (json.dumps({"request_id": f"{n:020}", **record}) + "\n" for n in range(100_000))
    (tmp_path / REVIEW).write_text("".join(lines))
    log = ReviewLog(tmp_path)
    assert len(log.decisions()) == 100_000
    started = time.perf_counter()
    for number in range(20):
        log.append(str(number), "reject", "page")
        assert len(log.decisions()) == 100_001 + number
    assert (time.perf_counter() - started) / 20 < 0.1
