"""Authors behind the OpenAI protocol: OpenAI itself, Azure, and every server that speaks alike."""

import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from dalda.captions.keys import Keys
from dalda.captions.llm import Answer, Question, Refused, Unanswered, without_system
from dalda.errors import UserError

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

RETRIES = 6
SECONDS = 180.0
FORMATS = ("json_schema", "json_object", "text")
LIMITS = ("max_tokens", "max_completion_tokens")
NOT_KNOWN = (
    "unsupported",
    "not supported",
    "unrecognized",
    "unknown",
    "unexpected",
    "extra",
    "not permitted",
)
TOO_LARGE = ("too large", "at most", "less than", "maximum", "exceed")
NO_KEY = "no-key"
# Pairs of a name and its captions, so that nothing hangs on the order.
_ENTRY = {
    "type": "object",
    "properties": {
        "class": {"type": "string"},
        "captions": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["class", "captions"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"captions": {"type": "array", "items": _ENTRY}},
    "required": ["captions"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Dialect:
    """What the server was found to take; each refusal leaves one thing out for good."""

    format: str = "json_schema"
    limits: tuple[str, ...] = LIMITS
    """The words for the most tokens of an answer that it may take; the first is used."""
    temperature: bool = True
    seed: bool = True
    system: bool = True

    def without(self, complaint: str) -> "Dialect | None":
        """The dialect that avoids what the server complains of, or None if that is something else."""
        said = complaint.lower()
        if self.limits[0] in said and any(word in said for word in NOT_KNOWN):
            return replace(self, limits=self.limits[1:]) if len(self.limits) > 1 else None
        if self.system and "role" in said and ("system" in said or "alternate" in said):
            return replace(self, system=False)
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False)
        if self.seed and "seed" in said:
            return replace(self, seed=False)
        if self.format != "text" and any(
            word in said for word in ("response_format", "json_schema", "json_object", "schema", "grammar")
        ):
            return replace(self, format=FORMATS[FORMATS.index(self.format) + 1])
        return None


@dataclass
class OpenAIModel:
    """A chat model behind an `openai` client, which retries with back-off and honours Retry-After."""

    name: str
    model: str
    client: "OpenAI"
    secrets: tuple[str, ...]
    dialect: Dialect = field(default_factory=Dialect)
    completes: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: Question) -> Answer:
        """Answer in the richest dialect that the server takes."""
        import openai

        while True:
            dialect = self.dialect
            try:
                response = self.client.chat.completions.create(**_arguments(question, dialect))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                ended = _ended(error)
                if ended is not None:
                    return ended
                self._learn(dialect, error)
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
                raise self._unanswered(error) from None
            except openai.APIStatusError as error:
                raise UserError(self._told(error)) from None
            except (openai.APIError, ValueError):
                return Answer("", "not an answer of the OpenAI protocol", 0, 0)
            else:
                return answer_of(response, question)

    def _learn(self, used: Dialect, error: "APIStatusError") -> None:
        lesser = used.without(self._clean(error))
        if lesser is None:
            raise Refused(self._told(error)) from None
        with self._lock:
            if self.dialect == used:
                self.dialect = lesser

    def _unanswered(self, error: Exception) -> Unanswered | UserError:
        if getattr(error, "code", None) == "insufficient_quota":
            return UserError(
                f"{self.name} says that the account's quota is used up; nothing more is asked."
            )
        status = getattr(error, "status_code", None)
        return Unanswered(f"status {status}" if status else "no connection, or none in time")

    def _told(self, error: "APIStatusError") -> str:
        told = {
            401: "refuses the key; set OPENAI_API_KEY (or AZURE_API_KEY) to one that it knows",
            403: f"does not let this key use the model {self.model!r}",
            404: f"knows no model {self.model!r} at this address; check the model's name and --base-url",
        }
        reason = told.get(error.status_code)
        if reason is None:
            reason = f"answers with status {error.status_code}: {self._clean(error)[:200]}"
        return f"{self.name} {reason.rstrip('.')}."

    def _clean(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        for secret in self.secrets:
            said = said.replace(secret, "***")
        return said


def openai_author(model: str, base_url: str | None, keys: Keys, *, retries: int = RETRIES) -> OpenAIModel:
    """OpenAI's own models, or with `base_url` any server of its protocol, with or without a key."""
    openai = _sdk()
    if base_url is None and keys.openai_api_key is None:
        raise UserError(
            "no key for OpenAI: set OPENAI_API_KEY in the environment or in .env, "
            "or name a server of your own with --base-url."
        )
    name, password = _place(base_url)
    key = keys.openai_api_key or SecretStr(NO_KEY)
    client = openai.OpenAI(
        api_key=key.get_secret_value(), base_url=base_url, max_retries=retries, timeout=SECONDS
    )
    # OpenAI's newer models know only the newer word; most other servers know only the older.
    dialect = Dialect(limits=LIMITS if base_url else LIMITS[::-1])
    return OpenAIModel(name, model, client, _secrets(key, password), dialect)


def azure_author(deployment: str, keys: Keys, *, retries: int = RETRIES) -> OpenAIModel:
    """A deployment on Azure; with an empty name the one that AZURE_MODEL names."""
    openai = _sdk()
    deployment = deployment or keys.azure_model or ""
    needed = {
        "AZURE_ENDPOINT": keys.azure_endpoint,
        "AZURE_API_KEY": keys.azure_api_key,
        "AZURE_API_VERSION": keys.azure_api_version,
        "AZURE_MODEL": deployment,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise UserError(
            f"azure needs {', '.join(missing)} in the environment or in .env"
            + (", or a deployment as azure:NAME." if "AZURE_MODEL" in missing else ".")
        )
    assert keys.azure_api_key is not None
    assert keys.azure_endpoint is not None
    _, password = _place(keys.azure_endpoint)
    client = openai.AzureOpenAI(
        azure_endpoint=keys.azure_endpoint,
        api_key=keys.azure_api_key.get_secret_value(),
        api_version=keys.azure_api_version,
        max_retries=retries,
        timeout=SECONDS,
    )
    dialect = Dialect(limits=LIMITS[::-1])
    return OpenAIModel("azure", deployment, client, _secrets(keys.azure_api_key, password), dialect)


def answer_of(response: object, question: Question) -> Answer:
    """What a response holds, whatever it is; a server that counts no tokens has them estimated."""
    choices = getattr(response, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    if message is None:
        return Answer("", "not an answer of the OpenAI protocol", 0, 0)
    content, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
    text = (
        content if isinstance(content, str) else "" if content is None else json.dumps(content, default=str)
    )
    assert isinstance(choices, list)
    finish = str(getattr(choices[0], "finish_reason", None) or "stop")
    if refusal:
        text, finish = text or str(refusal), "refusal"
    usage = getattr(response, "usage", None)
    asked = sum(len(message.content.encode("utf-8", "replace")) for message in question.messages)
    return Answer(
        text,
        finish,
        _count(getattr(usage, "prompt_tokens", None), asked),
        _count(getattr(usage, "completion_tokens", None), len(text.encode("utf-8", "replace"))),
    )


def _count(told: object, length: int) -> int:
    return told if isinstance(told, int) and told >= 0 else -(-length // 4)


def _arguments(question: Question, dialect: Dialect) -> dict[str, Any]:
    messages = question.messages if dialect.system else without_system(question.messages)
    arguments: dict[str, Any] = {
        "model": question.model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        dialect.limits[0]: question.max_tokens,
    }
    if dialect.temperature:
        arguments["temperature"] = question.temperature
    if dialect.seed:
        arguments["seed"] = question.seed
    if dialect.format == "json_schema":
        schema = {"name": "captions", "strict": True, "schema": SCHEMA}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.format == "json_object":
        arguments["response_format"] = {"type": "json_object"}
    return arguments


def _ended(error: "APIStatusError") -> Answer | None:
    """A bad request that is an answer all the same: too much at once, or a filter on the content."""
    said = f"{getattr(error, 'code', '')} {error}".lower()
    if "content_filter" in said:
        return Answer("", "content_filter", 0, 0)
    if "context_length" in said or "context length" in said or "context window" in said:
        return Answer("", "too much", 0, 0)
    if any(limit in said for limit in LIMITS) and any(word in said for word in TOO_LARGE):
        return Answer("", "too much", 0, 0)
    return None


def _place(base_url: str | None) -> tuple[str, str]:
    """How an author at an address is called (without user and password), and that password or lone user."""
    if base_url is None:
        return "openai", ""
    try:
        parts = urlsplit(base_url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        # Neither the address nor the parser's words are shown: a password may stand in them.
        raise UserError(
            "the address of the language model cannot be read; write it as http://HOST:PORT/v1."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError("the address of a language model must begin with http:// or https:// and a host.")
    return (
        f"openai at {parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}",
        parts.password or parts.username or "",
    )


def _secrets(key: SecretStr, password: str) -> tuple[str, ...]:
    return tuple(secret for secret in (key.get_secret_value(), password) if secret and secret != NO_KEY)


def _sdk() -> Any:
    try:
        import openai
    except ImportError as error:
        raise UserError("hosted models need the extra `llm`: pip install 'dalda[llm]'.") from error
    return openai
