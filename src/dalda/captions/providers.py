"""Providers of hosted models: addresses and keys, from the environment or `.env` of the working folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dalda.errors import UserError

NO_KEY = "no-key"
"""What is sent to a server that needs no key."""


@dataclass(frozen=True)
class Provider:
    """A service that speaks OpenAI's chat protocol."""

    key: str
    """Name of the variable that holds the key."""
    address: str
    """Name of the variable that holds an address."""
    url: str | None
    """Default address; None where the user must name one."""
    needs_key: bool = True
    limit: str = "max_tokens"
    """The parameter for the longest answer that its newest models take."""
    seed: str | None = "seed"


GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai"
BEDROCK = "https://bedrock-runtime.{AWS_REGION}.amazonaws.com/openai/v1"
NEWER = "max_completion_tokens"
PROVIDERS = {
    "openai": Provider("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1", limit=NEWER),
    "azure": Provider("AZURE_API_KEY", "AZURE_ENDPOINT", None, limit=NEWER),
    "anthropic": Provider(
        "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1", seed=None
    ),
    "gemini": Provider("GEMINI_API_KEY", "GEMINI_BASE_URL", GEMINI),
    "mistral": Provider(
        "MISTRAL_API_KEY", "MISTRAL_BASE_URL", "https://api.mistral.ai/v1", seed="random_seed"
    ),
    "bedrock": Provider("AWS_BEARER_TOKEN_BEDROCK", "BEDROCK_BASE_URL", BEDROCK),
    "ollama": Provider("OLLAMA_API_KEY", "OLLAMA_BASE_URL", "http://localhost:11434/v1", needs_key=False),
}
"""Each by the word before the colon of `--llm`."""


@dataclass(frozen=True)
class Account:
    """Where a model is and with which key; the key is in no representation."""

    url: str
    key: str = field(repr=False)


def account_of(name: str, base_url: str | None) -> Account:
    """Address and key of a provider, both from one source unless `base_url` confirms the address.

    Raises UserError for a missing key or address, and for a key that would go to an address which stands
    in another source: the folder's `.env` may be a stranger's, the environment is the user's.
    """
    provider, settings = PROVIDERS[name], Settings.read()
    key, url = settings.find(provider.key), settings.find(provider.address)
    sources = settings.source(provider.key), settings.source(provider.address)
    if base_url is None and key and url and sources[0] != sources[1]:
        raise UserError(
            f"{provider.key} stands in {sources[0]}, but {provider.address} in {sources[1]}; "
            "put both in one place, or confirm the address with --base-url."
        )
    address = base_url or url
    if not key and provider.needs_key and not address:
        raise UserError(
            f"no key for {name}: set {provider.key} in the environment or in .env, "
            "or name a server of your own with --base-url."
        )
    address = address or provider.url
    if address is None:
        raise UserError(f"{name} needs {provider.address} in the environment or in .env, or --base-url.")
    region = settings.find("AWS_REGION") or ""
    if "{AWS_REGION}" in address and not region.replace("-", "").isalnum():
        raise UserError("bedrock needs AWS_REGION in the environment, such as us-east-1.")
    return Account(address.replace("{AWS_REGION}", region), key or NO_KEY)


@dataclass(frozen=True)
class Settings:
    """Variables of the environment, then those of `.env`; an empty value counts as none."""

    environment: Mapping[str, str] = field(repr=False)
    file: Mapping[str, str | None] = field(repr=False)

    @classmethod
    def read(cls) -> "Settings":
        """Raises UserError if `.env` cannot be read, without quoting it."""
        from dotenv import dotenv_values

        try:
            return cls(os.environ, dotenv_values(".env", interpolate=False))
        except (OSError, UnicodeDecodeError):
            raise UserError("the file .env here cannot be read as lines NAME=VALUE in UTF-8.") from None

    def find(self, name: str) -> str | None:
        return self.environment.get(name) or self.file.get(name)

    def source(self, name: str) -> str:
        return "the environment" if self.environment.get(name) else ".env"
