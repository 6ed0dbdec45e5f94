"""What a server of OpenAI's protocol takes, learnt from its complaints, and what its answers say."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dalda.captions.llm import Completion, Message, Sampling, Schema, Usage, without_system

FORMATS = ("json_schema", "json_object", "text")
LIMITS = ("max_tokens", "max_completion_tokens")
UNKNOWN = ("unsupported", "not supported", "unrecogni", "unknown", "unexpected", "extra", "not permitted")
TOO_LARGE = ("too large", "at most", "less than", "maximum", "exceed")
TOO_LONG = re.compile(r"context[_ ](length|window)|too many tokens|prompt is too long", re.IGNORECASE)
FORMAT_WORDS = ("response_format", "json_schema", "json_object", "schema", "grammar")
ERROR_FIELDS = ("message", "msg", "detail", "error", "errors", "loc", "param", "code", "type")
"""What a complaint is read from; other fields, such as `input`, may repeat the whole request."""
SERVER_WORDS = 300


@dataclass(frozen=True)
class Dialect:
    """The parameters that a server takes; each complaint leaves one out."""

    format: str = FORMATS[0]
    limits: tuple[str, ...] = LIMITS
    """Names of the parameter for the longest answer that it may take; the first is used."""
    temperature: bool = True
    seed: str | None = "seed"
    system: bool = True

    def without(self, complaint: str) -> "Dialect | None":
        """The dialect that avoids what the server complains of, or None if that is something else."""
        words = complaint.lower()
        if self.limits[0] in words and any(word in words for word in UNKNOWN):
            return replace(self, limits=self.limits[1:]) if len(self.limits) > 1 else None
        if self.system and "role" in words and ("system" in words or "alternate" in words):
            return replace(self, system=False)
        if self.temperature and "temperature" in words:
            return replace(self, temperature=False)
        if self.seed and "seed" in words:
            return replace(self, seed=None)
        if any(word in words for word in FORMAT_WORDS):
            return self.with_plainer_format()
        return None

    def with_plainer_format(self) -> "Dialect | None":
        """A JSON schema, then JSON, then text; None after that."""
        rest = FORMATS[FORMATS.index(self.format) + 1 :]
        return replace(self, format=rest[0]) if rest else None

    def body(
        self, messages: Sequence[Message], schema: Schema | None, sampling: Sampling
    ) -> dict[str, Any]:
        """The parameters of a request."""
        turns = messages if self.system else without_system(messages)
        body: dict[str, Any] = {"messages": [asdict(turn) for turn in turns]}
        body[self.limits[0]] = sampling["max_tokens"]
        if self.temperature:
            body["temperature"] = sampling["temperature"]
        if self.seed:
            body[self.seed] = sampling["seed"]
        if schema is not None and self.format == "json_schema":
            named = {"name": "captions", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif schema is not None and self.format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body


def complaint_of(body: object, depth: int = 6) -> str:
    """The words of an error in any of the shapes that servers use: objects, lists, strings."""
    if depth == 0:
        return ""
    if isinstance(body, Mapping):
        parts = [complaint_of(body[name], depth - 1) for name in ERROR_FIELDS if body.get(name)]
        return " ".join(dict.fromkeys(part for part in parts if part))
    if isinstance(body, list | tuple):
        separator = "." if all(isinstance(entry, str | int) for entry in body) else "; "
        return separator.join(complaint_of(entry, depth - 1) for entry in body[:5])
    words = re.sub(r"<[^>]*>", " ", str(body)[: 10 * SERVER_WORDS])
    return " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())


def is_too_long(complaint: str) -> bool:
    """Whether a question, or the answer that it allows, is too long for the model."""
    words = complaint.lower()
    too_large = any(limit in words for limit in LIMITS) and any(word in words for word in TOO_LARGE)
    return too_large or bool(TOO_LONG.search(words))


def error_in(answer: object) -> object:
    """The error in an answer that comes as a success, or None."""
    if not isinstance(answer, Mapping):
        return answer or "an empty answer"
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        words = f"no choices in {json.dumps(answer)[:SERVER_WORDS]}"
        return answer.get("error") or (answer if complaint_of(answer) else words)
    return answer.get("error") or choices[0].get("error")


def completion_of(answer: Mapping[str, Any], prompt_bytes: int) -> Completion:
    """The completion in a server's answer; tokens that it does not count are estimated."""
    choice = answer["choices"][0]
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    text, finish = _text(message), str(choice.get("finish_reason") or "stop")
    if message.get("refusal"):
        text, finish = text or complaint_of(message["refusal"]), "refusal"
    counted = answer.get("usage")
    counted = counted if isinstance(counted, Mapping) else {}
    usage = Usage(
        _count(counted.get("prompt_tokens"), prompt_bytes),
        _count(counted.get("completion_tokens"), len(text.encode("utf-8", "replace"))),
    )
    return Completion(text, finish, usage)


def _text(message: Mapping[str, Any]) -> str:
    """Content as text or as parts; else the arguments of a tool call; else JSON among the reasoning."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text", "") if isinstance(part, Mapping) else part for part in content]
        content = "".join(part for part in parts if isinstance(part, str))
    if content:
        return content if isinstance(content, str) else json.dumps(content)
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls and isinstance(calls[0], Mapping):
        function = calls[0].get("function")
        return str(function.get("arguments") or "") if isinstance(function, Mapping) else ""
    thoughts = message.get("reasoning_content")
    is_json = isinstance(thoughts, str) and thoughts.lstrip().startswith('{"captions"')
    return str(thoughts) if is_json else ""


def _count(tokens: object, length: int) -> int:
    return tokens if isinstance(tokens, int) and tokens >= 0 else -(-length // 4)
