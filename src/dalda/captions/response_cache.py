"""Raw answers on disk, each under the hash of its question, written before anything reads them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from dalda.captions.llm import Answer, Question
from dalda.errors import UserError
from dalda.storage import lock, write


@dataclass(frozen=True)
class ResponseCache:
    """A folder `ab/abcdef....json`; safe with many threads and with being killed anywhere."""

    folder: Path

    def get(self, question: Question) -> Answer | None:
        """The stored answer, or None; a file that is not one of ours is a UserError."""
        path = self._path(question.address)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["answer"]
            return Answer(
                str(found["text"]), str(found["finish"]), int(found["tokens_in"]), int(found["tokens_out"])
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is not a stored answer; move it away to have it asked again."
            ) from error

    def put(self, question: Question, answer: Answer) -> None:
        record = {"question": asdict(question), "answer": asdict(answer)}
        _write(self._path(question.address), record)

    def has_any(self) -> bool:
        return next(self.folder.glob("??/*.json"), None) is not None

    def record(self, request: str) -> object:
        """What was noted of a request, plain JSON values; None where nothing was."""
        path = self._note(request)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} is not a request's record; move it away to begin the request anew."
            ) from error

    def put_record(self, request: str, record: object) -> None:
        _write(self._note(request), record)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one process at a time. Raises UserError where another is at work on these answers."""
        _make(self.folder)
        busy = f"another command is writing captions with {self.folder}; let it end, then run this again."
        with lock(self.folder, busy):
            yield

    def _note(self, request: str) -> Path:
        return self.folder / "requests" / f"{request}.json"

    def _path(self, address: str) -> Path:
        return self.folder / address[:2] / f"{address}.json"


def _write(path: Path, record: object) -> None:
    _make(path.parent)
    try:
        # ASCII, so that whatever a model says, lone surrogates too, comes back as it was.
        write(path, (json.dumps(record, indent=1) + "\n").encode("ascii"), shared=True)
    except OSError as error:
        raise UserError(f"cannot keep the answers in {path.parent}: {error.strerror or error}.") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot keep the answers in {folder}: {error.strerror or error}.") from error
