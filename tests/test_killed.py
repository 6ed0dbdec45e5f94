"""SIGKILL at any moment of a command that writes: the same command ends with the files of an unbroken run.

`make kills KILLS=1000` does this more often.
"""

from collections.abc import Iterator

import pytest

from kills import Killing, killings

SHARE = {"augment": 6, "run": 3, "train": 3, "learn tokens": 2, "learn a LoRA": 2}
"""Kills of a command; of any other one."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Killing]]:
    with killings(tmp_path_factory.mktemp("kills"), seed=5) as found:
        yield found


@pytest.mark.slow
def test_kills_leave_the_files_of_an_unbroken_run(commands: list[Killing]) -> None:
    """Half of the kills come just after a write, the others at any time of a run."""
    for command in commands:
        command.kill(SHARE.get(command.name, 1))
    assert {"augment", "captions", "import", "train", "run", "evaluate", "review", "merge", *SHARE} <= {
        command.name for command in commands
    }
    assert sum(command.kills for command in commands) >= 32
