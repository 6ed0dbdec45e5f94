"""Raw answers on disk, each under the hash of its question, written before anything reads them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dalda.errors import UserError
from dalda.prompts.author import Answer, Question
from dalda.writing import write_atomically


@dataclass(frozen=True)
class AnswerStore:
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

    def stages(self, job: str) -> list["Stage"]:
        """What earlier runs of a job set out to do, in order."""
        path = self.folder / "jobs" / f"{job}.json"
        try:
            return [Stage(**stage) for stage in json.loads(path.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path} is not a job's record; move it away to begin the job anew.") from error

    def put_stages(self, job: str, stages: list["Stage"]) -> None:
        _write(self.folder / "jobs" / f"{job}.json", [asdict(stage) for stage in stages])

    def _path(self, address: str) -> Path:
        return self.folder / address[:2] / f"{address}.json"


@dataclass(frozen=True)
class Stage:
    """One aim of a job. Stages are replayed in order, so that the same answers give the same book."""

    per_class: int
    missing: int | None = None
    """Captions still missing when it came to its own end; None while it has not (killed, or stopped)."""


def _write(path: Path, record: object) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # ASCII, so that whatever a model says, lone surrogates too, comes back as it was.
        write_atomically(path, (json.dumps(record, indent=1) + "\n").encode("ascii"), shared=True)
    except OSError as error:
        raise UserError(f"cannot keep the answers in {path.parent}: {error.strerror or error}.") from error
