"""What asking may cost: counts tokens, keeps the limit, and stops all askers at once."""

import threading
from dataclasses import dataclass, field

from dalda.captions.llm import Answer, Question

DEAD = 3
"""So many questions in a row without any answer, and the author is taken to be gone."""


class Stopped(Exception):
    """No further question may be asked in this run; says why."""


@dataclass
class TokenBudget:
    """The tokens of this run; shared by all threads. `limit` of None is no limit."""

    limit: int | None = None
    questions: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    stopped: str | None = None
    answered_before: bool = False
    """Whether there are answers of an earlier run."""
    _reserved: int = 0
    _silent: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def reserve(self, question: Question) -> None:
        """Set aside the most that the question can cost; raises `Stopped` when the limit forbids it."""
        with self._changed:
            # Others may turn out cheaper than what was set aside for them.
            self._changed.wait_for(lambda: self.stopped or not self._reserved or self._fits(question))
            if self.stopped is None and not self._fits(question):
                self.stopped = f"the limit of {self.limit} tokens would be passed"
            if self.stopped is not None:
                self._changed.notify_all()
                raise Stopped(self.stopped)
            self._reserved += question.most_tokens

    def answered(self, question: Question, answer: Answer) -> None:
        with self._changed:
            self._reserved -= question.most_tokens
            self.questions += 1
            self.tokens_in += answer.tokens_in
            self.tokens_out += answer.tokens_out
            self._silent = 0
            self._changed.notify_all()

    def unanswered(self, question: Question, reason: str) -> None:
        with self._changed:
            self._reserved -= question.most_tokens
            self._silent += 1
            if self._silent >= DEAD and self.stopped is None:
                self.stopped = f"the language model does not answer ({reason})"
            self._changed.notify_all()

    def others_are_answered(self, question: Question) -> bool:
        """Whether a refusal is this question's own; what is under way may show it, and is waited for."""
        with self._changed:
            self._reserved -= question.most_tokens
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.questions or self.answered_before or not self._reserved)
            self._reserved += question.most_tokens
            return bool(self.questions or self.answered_before)

    def stop(self, reason: str) -> None:
        """Let what is under way end, and nothing else begin."""
        with self._changed:
            self.stopped = self.stopped or reason
            self._changed.notify_all()

    def _fits(self, question: Question) -> bool:
        spent = self.tokens_in + self.tokens_out + self._reserved
        return self.limit is None or spent + question.most_tokens <= self.limit
