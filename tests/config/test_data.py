"""What every configuration refuses."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

import dalda
from dalda.cli import app
from dalda.config import AugmentConfig, TrainConfig
from dalda.errors import UserError


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", ""],
        ["augment", "doodles", "-o", ""],
        ["augment", "doodles", "-o", "out", "--model", " "],
        ["train", "doodles", "--synthetic", "", "-o", "out"],
        ["merge", "a", "", "-o", "out"],
        ["demo", "-o", ""],
    ],
)
def test_an_empty_name_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable of a shell that is not set: it would name the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "it is empty; is a variable not set?" in result.stderr
    assert not list(tmp_path.iterdir())


def test_in_python_too() -> None:
    with pytest.raises(UserError, match="model cannot be '': it is empty"):
        dalda.augment("doodles", out="out", model="")
    with pytest.raises(ValidationError):
        TrainConfig(dataset="")
    assert AugmentConfig(dataset="doodles", out=Path()).out == Path()
