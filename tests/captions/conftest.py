"""One fake chat server for all tests of this folder, reset before each."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.captions.chat_server import ChatServer, running_server

# On a busy machine the first example alone may take longer than hypothesis allows.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def _chat_server() -> Iterator[ChatServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def chat_server(_chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> ChatServer:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "AZURE_ENDPOINT",
        "AZURE_API_KEY",
        "AZURE_API_VERSION",
    ):
        monkeypatch.delenv(name, raising=False)
    _chat_server.configure(reset=True)
    return _chat_server
