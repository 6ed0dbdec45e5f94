"""Protocol of a language model, and models by name such as `openai:gpt-4o-mini`.

A class with `name` and `complete` is a language model: pass an object of it as `llm`, or register a factory
`model name -> object` as an entry point of the group `dalda.language_models`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, Unpack

from dalda.errors import UserError
from dalda.plugins import load_plugin
from dalda.terminal import did_you_mean

LOCAL = ("templates", "local", "transformers:ID_OR_FOLDER")
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True)
class Usage:
    """Tokens read and written."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True)
class Completion:
    """A model's answer, word for word."""

    text: str
    finish_reason: str = "stop"
    """`stop`, `length` (cut off at `max_tokens`), `too long` (not begun), or the model's own word."""
    usage: Usage | None = None
    """None has the tokens estimated."""


class Sampling(TypedDict):
    """How a completion is drawn, as the keyword arguments of `complete`."""

    temperature: float
    max_tokens: int
    """Upper bound of the answer."""
    seed: int


class LanguageModel(Protocol):
    """A chat model. `complete` may be called from several threads at once.

    A class with `is_base_model = True` is asked to continue a text to the end of its line instead.
    """

    @property
    def name(self) -> str:
        """What the captions file records; answers are cached under it."""
        ...

    def complete(
        self, messages: Sequence[Message], schema: Schema | None, **sampling: Unpack[Sampling]
    ) -> Completion:
        """The answer, at most `max_tokens` long, in JSON of the schema if the model can.

        Raises `Unavailable`, `Refused`, and UserError if the model cannot answer any question.
        """
        ...


class Unavailable(Exception):
    """The model gave no answer after retries; the message says why and holds no key."""


class Refused(UserError):
    """The model does not take this question; it may take another."""


def without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same messages with the system's text at the head of the user's, for models without that role."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    first, *others = [message for message in messages if message.role != "system"]
    return (Message(first.role, f"{system}\n\n{first.content}") if system else first, *others)


def language_model(spec: str, base_url: str | None = None) -> LanguageModel:
    """The language model of a spec: `PROVIDER:MODEL`, `transformers:ID_OR_FOLDER`, `local` or a plugin's.

    Raises UserError for an unknown spec, a missing key and a model that cannot be loaded.
    """
    from dalda.captions.providers import PROVIDERS

    kind, _, model = spec.partition(":")
    if kind in PROVIDERS:
        from dalda.captions.openai_api import hosted_model

        return hosted_model(kind, model, base_url)
    if base_url is not None:
        raise UserError(f"--base-url goes with a hosted model such as openai:MODEL, not with {spec!r}.")
    if kind == "transformers" and model:
        from dalda.captions.transformers_llm import load_transformers_model

        return load_transformers_model(model)
    if spec == "local":
        from dalda.captions.llama_cpp import LlamaCppModel

        return LlamaCppModel()
    factory = load_plugin("dalda.language_models", kind)
    if factory is not None:
        llm: LanguageModel = factory(model)
        return llm
    known = [*LOCAL, *(f"{name}:MODEL" for name in PROVIDERS)]
    near = did_you_mean(kind, [name.partition(":")[0] for name in known])
    raise UserError(f"unknown language model {spec!r}; use one of {', '.join(known)}{near}")
