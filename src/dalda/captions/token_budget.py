"""Token budget of a run: counts tokens, keeps the limit, and stops all threads at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dalda.captions.llm import Usage
from dalda.captions.response_cache import Question

MAX_UNANSWERED = 3
"""Questions in a row without an answer after which the model counts as gone."""


class Stopped(Exception):
    """No further question may be asked in this run; says why."""


@dataclass
class TokenBudget:
    """The tokens of this run, shared by all threads. A `limit` of None is no limit."""

    limit: int | None = None
    questions: int = 0
    used: Usage = field(default_factory=Usage)
    stopped: str | None = None
    answered_before: bool = False
    """Whether there are answers of an earlier run."""
    _reserved: int = 0
    _unanswered: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def reserve(self, question: Question) -> Iterator[None]:
        """Set aside the most that the question can cost. Raises `Stopped` if the limit forbids it."""
        with self._changed:
            # Others may turn out cheaper than what was set aside for them.
            self._changed.wait_for(lambda: self.stopped or not self._reserved or self._fits(question))
            if not self._fits(question):
                self.stop(f"the limit of {self.limit} tokens would be passed")
            if self.stopped is not None:
                raise Stopped(self.stopped)
            self._reserved += question.token_limit
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= question.token_limit
                self._changed.notify_all()

    def count(self, usage: Usage) -> None:
        """Count what an answer cost."""
        with self._changed:
            self.questions += 1
            self.used += usage
            self._unanswered = 0

    def count_unanswered(self, reason: str) -> None:
        """Count a question without an answer; several in a row stop the run."""
        with self._changed:
            self._unanswered += 1
            if self._unanswered >= MAX_UNANSWERED:
                self.stop(f"the language model does not answer ({reason})")

    def others_are_answered(self) -> bool:
        """Whether a refusal is its question's own; waits for the questions that are under way."""
        with self._changed:
            self._changed.wait_for(lambda: self.questions or self.answered_before or not self._reserved)
            return bool(self.questions or self.answered_before)

    def stop(self, reason: str) -> None:
        """Begin no other question."""
        with self._changed:
            self.stopped = self.stopped or reason
            self._changed.notify_all()

    def _fits(self, question: Question) -> bool:
        spent = self.used.input_tokens + self.used.output_tokens + self._reserved
        return self.limit is None or spent + question.token_limit <= self.limit
