"""Raw completions on disk, each under the hash of its question, written before anything reads them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dalda.captions.llm import Completion, Message, Usage
from dalda.errors import UserError
from dalda.storage import exists, list_folder, lock, make_folder, read_text, write


@dataclass(frozen=True)
class Question:
    """All that decides a completion; the same question always has the same hash."""

    llm: str
    messages: tuple[Message, ...]
    wanted: tuple[tuple[str, int], ...]
    """Class name and the number of captions that are asked for."""
    temperature: float
    max_tokens: int
    """Upper bound of the completion."""
    seed: int
    samples: int = 1
    """How often the model reads the messages: a base model reads them again for each caption."""

    @property
    def sha256(self) -> str:
        """Hash of the model, the messages and the sampling settings."""
        messages = [[message.role, message.content] for message in self.messages]
        settings = [self.wanted, self.temperature, self.max_tokens, self.seed]
        return hashlib.sha256(json.dumps([self.llm, messages, settings]).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Length of the messages in UTF-8."""
        return sum(len(message.content.encode("utf-8", "replace")) for message in self.messages)

    @property
    def token_limit(self) -> int:
        """No completion can cost more tokens: a token is at least one byte of text."""
        return self.samples * (16 * (1 + len(self.messages)) + self.bytes) + self.max_tokens


@dataclass(frozen=True)
class ResponseCache:
    """A folder of `ab/abcdef....json`; safe with many threads and with being killed anywhere."""

    folder: Path

    def get(self, question: Question) -> Completion | None:
        """The stored completion, or None. Raises UserError for a damaged file."""
        stored: Any = _read(self._path(question), "a stored answer; move it away to ask again")
        if stored is None:
            return None
        try:
            answer = stored["answer"]
            usage = Usage(**(answer["usage"] or {}))
            words = (answer["text"], answer["finish_reason"])
            numbers = (usage.input_tokens, usage.output_tokens)
            if {*map(type, words)} != {str} or {*map(type, numbers)} != {int}:
                raise TypeError
            return Completion(*words, usage if answer["usage"] else None)
        except (KeyError, TypeError) as error:
            raise _damaged(self._path(question), "a stored answer; move it away to ask again") from error

    def put(self, question: Question, completion: Completion) -> None:
        self._write(self._path(question), {"question": asdict(question), "answer": asdict(completion)})

    def is_empty(self) -> bool:
        return not any(len(name) == 2 for name in list_folder(self.folder))

    def record(self, request: str) -> object:
        """What was recorded of a request as plain JSON values, or None."""
        return _read(self._record(request), "the record of a request; move it away to start again")

    def put_record(self, request: str, record: object) -> None:
        self._write(self._record(request), record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one process at a time. Raises UserError while another uses the folder."""
        make_folder(self.folder, root=self.folder.parent)
        busy = f"another command is writing captions with {self.folder}; let it end, then run this again."
        with lock(self.folder, busy):
            yield

    def _write(self, path: Path, record: object) -> None:
        make_folder(path.parent, root=self.folder.parent)
        # ASCII, so that whatever a model says, lone surrogates too, comes back as it was.
        text = json.dumps(record, indent=1) + "\n"
        write(path, text, shared=True, root=self.folder.parent)

    def _record(self, request: str) -> Path:
        return self.folder / "requests" / f"{request}.json"

    def _path(self, question: Question) -> Path:
        return self.folder / question.sha256[:2] / f"{question.sha256}.json"


def _read(path: Path, what: str) -> object:
    if not exists(path):
        return None
    try:
        return json.loads(read_text(path))  # answers may hold halves of characters, word for word
    except (ValueError, RecursionError) as error:
        raise _damaged(path, what) from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is not {what}.")
