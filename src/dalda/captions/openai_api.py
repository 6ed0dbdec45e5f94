"""Hosted models, and every server of OpenAI's chat protocol, through OpenAI's own client."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import urlsplit

from dalda.captions.dialect import (
    LIMITS,
    SERVER_WORDS,
    Dialect,
    complaint_of,
    completion_of,
    error_in,
    is_too_long,
)
from dalda.captions.llm import Completion, Message, Refused, Sampling, Schema, Unavailable, Usage
from dalda.captions.providers import NO_KEY, PROVIDERS, Settings, account_of
from dalda.errors import UserError, first_line

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 6
SECONDS = 180.0
SECONDS_TO_CONNECT = 5.0
PROXY_VARIABLES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
FLAGGED = ("moderation", "flagged", "content_filter", "content policy", "safety", "inappropriate")
OUT_OF_QUOTA = ("insufficient_quota", "insufficient_balance")
ADVICE = {
    401: "refuses the key; set {key} to one that it knows",
    403: "does not let this key use the model",
    404: "knows no such model at this address; check the model's name and --base-url",
}


@dataclass
class OpenAIModel:
    """A chat model behind a client that retries with growing pauses and honours `Retry-After`."""

    name: str
    model: str
    client: "OpenAI"
    http: Any
    """The connection of the client."""
    secrets: tuple[str, ...]
    """What must not reach a file or a message, even if the server says it."""
    dialect: Dialect = field(default_factory=Dialect)
    _is_reached: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(
        self, messages: Sequence[Message], schema: Schema | None, **sampling: Unpack[Sampling]
    ) -> Completion:
        """Ask in the richest dialect that the server takes. Errors as `LanguageModel.complete` says."""
        self._reach()
        spent = Usage()
        while True:
            dialect = self.dialect
            body = dialect.body(messages, schema, sampling)
            completion = self._ask(dialect, body)
            if completion is None:
                continue
            spent += completion.usage or Usage()
            plainer = dialect.with_plainer_format() if "response_format" in body else None
            if completion.text or completion.finish_reason != "stop" or plainer is None:
                return replace(completion, text=self._clean(completion.text), usage=spent)
            self._learn(dialect, plainer)  # some servers answer nothing to a format that they do not know

    def _reach(self) -> None:
        """Raise UserError at once for a host that cannot be reached: the client would retry for long."""
        import httpx2

        with self._lock:
            if self._is_reached:
                return
            try:
                self.http.head(self.client.base_url, timeout=SECONDS_TO_CONNECT)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
                reason = self._clean(first_line(error))
                raise UserError(
                    f"{self.name} cannot be reached: {reason}; check the address and the network."
                ) from None
            except httpx2.HTTPError:
                pass  # the server is there, and may answer questions anyway
            self._is_reached = True

    def _ask(self, dialect: Dialect, body: dict[str, Any]) -> Completion | None:
        """The answer, or None if the server complains of the dialect, which is then another."""
        import openai

        try:
            response = self.client.chat.completions.with_raw_response.create(
                model=self.model, messages=body["messages"], extra_body=body
            )
        except openai.APIStatusError as error:
            return self._failed(dialect, error.status_code, error.body or error.message)
        except openai.APIConnectionError as error:
            cause = f": {self._clean(str(error.__cause__))}" if error.__cause__ else ""
            raise Unavailable(f"no connection, or no answer in time{cause}") from None
        text = response.http_response.text
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = text[: 10 * SERVER_WORDS]
        failure = error_in(answer)
        if failure is not None:
            code = failure.get("code") if isinstance(failure, dict) else None
            return self._failed(dialect, code if isinstance(code, int) else 200, failure)
        return completion_of(answer, len(json.dumps(body["messages"], ensure_ascii=False)))

    def _failed(self, dialect: Dialect, status: int, body: object) -> Completion | None:
        """What an error means. Raises the exceptions of `complete`."""
        words = self._clean(complaint_of(body))[:SERVER_WORDS] or f"status {status}"
        lower = words.lower()
        if any(word in lower for word in OUT_OF_QUOTA):
            raise UserError(f"{self.name} says that the account's quota is used up: {words}")
        if status in ADVICE and not (status == 403 and any(word in lower for word in FLAGGED)):
            advice = ADVICE[status].format(key=PROVIDERS[self.name.partition(":")[0]].key)
            raise UserError(f"{self.name} {advice} ({words}).")
        if is_too_long(words):
            return Completion("", f"too long: {words}", Usage())
        plainer = dialect.without(words)
        if plainer is not None:
            self._learn(dialect, plainer)
            return None
        if status in (408, 409, 429) or status >= 500:
            raise Unavailable(f"status {status}: {words}")
        raise Refused(f"{self.name} answers with status {status}: {words}")

    def _learn(self, used: Dialect, better: Dialect) -> None:
        with self._lock:
            if self.dialect == used:
                self.dialect = better

    def _clean(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def hosted_model(kind: str, model: str, base_url: str | None = None) -> OpenAIModel:
    """A model of a provider, or of any server with `base_url`. Raises UserError as `account_of` does."""
    provider, settings = PROVIDERS[kind], Settings.read()
    if kind == "azure":
        model = model or settings.find("AZURE_MODEL") or ""
    if not model:
        raise UserError(f"name the model, as in --llm {kind}:MODEL.")
    account = account_of(kind, base_url)
    shown, password = _address(account.url)
    version = settings.find("AZURE_API_VERSION") if kind == "azure" else None
    client, http = _client(kind, account.url, account.key, version)
    is_own = account.url == provider.url
    limits = tuple(sorted(LIMITS, key=lambda limit: limit != provider.limit))
    dialect = Dialect(limits=limits if is_own or kind == "azure" else LIMITS, seed=provider.seed)
    secrets = tuple(secret for secret in (account.key, password) if secret and secret != NO_KEY)
    name = f"{kind}:{model}" if is_own else f"{kind}:{model} at {shown}"
    return OpenAIModel(name, model, client, http, secrets, dialect)


def _client(kind: str, url: str, key: str, azure_version: str | None) -> tuple["OpenAI", Any]:
    """The client and its connection, which follows no redirection: a key goes to this address alone."""
    try:
        import httpx2
        import openai
    except ImportError as error:
        raise UserError("hosted models need the extra `llm`: pip install 'dalda[llm]'.") from error
    usual: dict[str, Any] = {"api_key": key, "max_retries": RETRIES, "timeout": SECONDS}
    try:
        http = usual["http_client"] = openai.DefaultHttpxClient(follow_redirects=False)
        if azure_version:
            return openai.AzureOpenAI(azure_endpoint=url, api_version=azure_version, **usual), http
        base = f"{url.rstrip('/')}/openai/v1" if kind == "azure" else url
        return openai.OpenAI(base_url=base, **usual), http
    except (ValueError, ImportError, OSError, httpx2.InvalidURL) as error:
        check = ", ".join(name for name in os.environ if name.upper() in PROXY_VARIABLES) or "the address"
        raise UserError(f"the connection cannot be set up: {first_line(error)}; check {check}.") from None


def _address(url: str) -> tuple[str, str]:
    """The address without user and password, and that password. Raises UserError, without quoting it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # neither the address nor the parser's words are shown: a password may stand in them
        raise UserError(
            "the address of the language model cannot be read; write it as http://HOST:PORT/v1."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or url != url.strip():
        raise UserError("the address of a language model must be http:// or https:// and a host.")
    shown = f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"
    return shown, parts.password or parts.username or ""
