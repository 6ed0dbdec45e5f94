"""Keys and addresses: from the environment or `.env` of the working folder, and never mixed."""

from pathlib import Path

import pytest
from tests.captions.chat_server import ChatServer

from dalda.captions.generate import generate_captions
from dalda.captions.openai_api import hosted_model
from dalda.captions.providers import PROVIDERS, account_of
from dalda.errors import UserError

KEY = "sk-secret-of-the-providers-0123456789"


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for provider in PROVIDERS.values():
        monkeypatch.delenv(provider.key, raising=False)
        monkeypatch.delenv(provider.address, raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_s_key_goes_to_its_own_address(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = PROVIDERS[name]
    monkeypatch.setenv(provider.key, KEY)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    if provider.url is None:
        monkeypatch.setenv(provider.address, "https://mine.example")
    account = account_of(name, None)
    assert account.key == KEY
    assert KEY not in repr(account)
    hosts = {
        "openai": "api.openai.com",
        "azure": "mine.example",
        "anthropic": "api.anthropic.com",
        "gemini": "generativelanguage.googleapis.com",
        "mistral": "api.mistral.ai",
        "bedrock": "bedrock-runtime.eu-west-1.amazonaws.com",
        "ollama": "localhost:11434",
    }
    assert account.url.split("/")[2] == hosts[name]
    assert KEY not in repr(hosted_model(name, "model").name)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("is_key_in_file", [True, False])
def test_a_key_never_meets_an_address_from_another_place(
    name: str, is_key_in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = PROVIDERS[name]
    pairs = [(provider.key, KEY), (provider.address, "http://stranger.example/v1")]
    in_file, in_environment = pairs if is_key_in_file else pairs[::-1]
    (tmp_path / ".env").write_text("{}={}\n".format(*in_file))
    monkeypatch.setenv(*in_environment)
    with pytest.raises(UserError, match="put both in one place") as raised:
        account_of(name, None)
    assert KEY not in str(raised.value)
    assert account_of(name, "http://confirmed.example/v1").url == "http://confirmed.example/v1"


def test_key_and_address_of_one_file_are_used_together(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"MISTRAL_API_KEY={KEY}\nMISTRAL_BASE_URL=http://own.example/v1\n")
    assert account_of("mistral", None).url == "http://own.example/v1"


def test_only_env_of_the_working_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        account_of("openai", None)


def test_a_redirection_takes_no_key_along(
    chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    elsewhere = {"status": 307, "message": "moved", "headers": {"location": f"{chat_server.url}/elsewhere"}}
    chat_server.configure(faults=[elsewhere] * 9)
    with pytest.raises(UserError, match="status 307"):
        generate_captions(["pug"], tmp_path / "c.json", llm="openai:tiny", base_url=chat_server.url)
    assert len(chat_server.asked()) == 1


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "azure"])
def test_every_provider_writes_captions_at_an_address_of_its_own(
    name: str, chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROVIDERS[name].key, KEY)
    monkeypatch.setenv(PROVIDERS[name].address, chat_server.url)
    report = generate_captions(["pug", "rose"], tmp_path / "c.json", llm=f"{name}:tiny", per_class=2)
    assert not report.missing
    (asked,) = chat_server.asked()
    assert asked["key"] == f"Bearer {KEY}"
    assert ("seed" in asked["body"]) is (PROVIDERS[name].seed == "seed")
    assert report.llm == f"{name}:tiny at {chat_server.url}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("all_proxy", "socks://127.0.0.1:7891"),
        ("http_proxy", "foo:bar"),
        ("SSL_CERT_FILE", "/nowhere/cert.pem"),
    ],
)
def test_variables_of_the_connection_that_cannot_be_used_are_named(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=f"(?i){variable}|proxy|certificate|/nowhere"):
        generate_captions(["pug"], tmp_path / "c.json", llm="openai:x", base_url="http://127.0.0.1:9/v1")
