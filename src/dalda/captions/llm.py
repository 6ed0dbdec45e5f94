"""The seam to any language model: a question goes in, one raw answer comes out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dalda.errors import UserError

Wanted = Mapping[str, int]
"""Class name to the number of captions that are asked for."""


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Question:
    """All that decides an answer; the same question always has the same address."""

    author: str
    model: str
    messages: tuple[Message, ...]
    wanted: tuple[tuple[str, int], ...]
    temperature: float
    max_tokens: int
    """Of the answer: an upper bound that the author must keep."""
    seed: int
    samples: int = 1
    """How often the messages are read: a base model reads them anew for each of its samples."""

    @property
    def address(self) -> str:
        """A hash of author, model, messages and sampling settings."""
        settings = [self.temperature, self.max_tokens, self.seed, self.wanted]
        written = [self.author, self.model, [[m.role, m.content] for m in self.messages], settings]
        return hashlib.sha256(json.dumps(written).encode()).hexdigest()

    @property
    def most_tokens(self) -> int:
        """No answer to this question can cost more: a token is at least one byte of text."""
        overhead = 16 * (1 + len(self.messages))
        prompt = sum(len(message.content.encode("utf-8", "replace")) for message in self.messages)
        return self.samples * (overhead + prompt) + self.max_tokens


@dataclass(frozen=True)
class Answer:
    """What came back, word for word, and what it cost."""

    text: str
    finish: str
    """`stop`, `length` (cut off), `too much` (not even begun), or the author's own word for another end."""
    tokens_in: int
    tokens_out: int


class Unanswered(Exception):
    """The author gave no answer although it was asked patiently; says why, without any key."""


class Refused(UserError):
    """This question is not taken as it stands. Where no question is, it is the user's to fix."""


def without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The same with the system's words at the head of the user's, for models that know no such role."""
    told = "\n\n".join(message.content for message in messages if message.role == "system")
    others = [message for message in messages if message.role != "system"]
    if not told or not others:
        return tuple(messages)
    first = Message(others[0].role, f"{told}\n\n{others[0].content}")
    return (first, *others[1:])


class LanguageModel(Protocol):
    """A language model. `ask` may be called from several threads at once."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def completes(self) -> bool:
        """True for a base model, which goes on with a text, one class at a time, and takes no orders."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not reach a file, even when a server says it aloud."""
        ...

    def ask(self, question: Question) -> Answer:
        """Raises `Unanswered`, `Refused`, and UserError when no question at all can be answered."""
        ...
