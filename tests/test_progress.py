import pytest

from dalda import progress as module
from dalda.progress import progress


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
