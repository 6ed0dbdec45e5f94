"""Progress: plain lines or a bar on stderr, a callback, and silence when asked."""

import logging
from collections.abc import Iterator

import pytest

from dalda import progress as module
from dalda.progress import LOGGER, on_progress, progress, quiet, say


@pytest.fixture(autouse=True)
def _default_level() -> Iterator[None]:
    LOGGER.setLevel(logging.NOTSET)
    yield
    LOGGER.setLevel(logging.NOTSET)


def test_plain_lines_go_to_stderr_and_stdout_stays_clean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLAIN_SECONDS", 0.0)
    with progress("generate", 3) as bar:
        for _ in range(3):
            bar.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert "generate: 1 of 3" in err
    assert " s left" in err
    assert err.strip().splitlines()[-1].startswith("generate: 3 of 3 in ")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("generate", 2) as bar:
        bar.advance(2)
    out, err = capsys.readouterr()
    assert out == ""
    assert bar.done == 2
    assert "generate" in err


@pytest.mark.parametrize("terminal", [True, False])
def test_names_in_a_label_are_plain_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with progress("arm [/x]\x1b[2J", 1) as bar:
        bar.advance()
    assert r"arm [/x]\x1b[2J" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_written_when_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    quiet()
    say("a note")
    with progress("generate", 2) as bar:
        bar.advance(2)
    assert capsys.readouterr() == ("", "")
    assert bar.done == 2


def test_a_callback_is_called_also_when_quiet() -> None:
    calls = []
    quiet()
    record = on_progress(lambda *call: calls.append(call))
    with record, progress("train", 3) as bar:
        bar.advance()
        bar.advance(2)
    with progress("train", 1) as bar:
        bar.advance()
    assert calls == [("train", 1, 3), ("train", 3, 3)]


def test_notes_are_records_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    say("a note with 100 % and %s")
    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records] == [
        ("dalda", "INFO", "a note with 100 % and %s")
    ]
