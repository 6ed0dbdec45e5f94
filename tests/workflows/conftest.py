"""A cache of models in which one model is incomplete, and a watch on the network."""

import shutil
import socket
from pathlib import Path

import huggingface_hub.constants as constants
import pytest

from dalda.models.presets import located, preset_named


@pytest.fixture
def half_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Hub id of a CLIP whose config.json alone is in the cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    place, commit = tmp_path / "hub/models--someone--clip", "a" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text(commit)
    (place / "snapshots" / commit).mkdir(parents=True)
    shutil.copy(Path(located(preset_named("doodle").clip)) / "config.json", place / "snapshots" / commit)
    return "someone/clip"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that something asked for; none is answered."""
    asked: list[str] = []

    def refuse(host: object, *_: object, **__: object) -> None:
        asked.append(str(host))
        raise socket.gaierror(f"the test asks nobody for {host}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked
