"""The question loop: ask for missing captions, a few classes at a time, until enough are accepted."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from dalda.captions.instructions import SCHEMA, chat_messages, completion_examples, completion_text
from dalda.captions.llm import Completion, Message, Refused, Unavailable, Usage
from dalda.captions.parsing import parse_answer
from dalda.captions.response_cache import Question, ResponseCache
from dalda.captions.stage import CaptionRequest, Chunk
from dalda.captions.token_budget import Stopped, TokenBudget
from dalda.captions.validation import CUT
from dalda.seeding import seed_of

CAPTIONS_PER_QUESTION = 10
PATIENCE, BASE_MODEL_PATIENCE = 4, 12
"""Answers in a row without an accepted caption of a class before it is given up for this run."""
MAX_ROUNDS = 3
"""For each ten captions of a class, it is asked about at most so many times its patience."""
TOKENS_PER_CAPTION = 60
TOKENS_BESIDE = 1000
"""Of an answer: for its form, and for a model that thinks before it answers."""
GRACE_SECONDS = 2.0
"""After Ctrl-C, for answers that are under way."""


@dataclass
class Pace:
    """How much is asked at a time; less after an answer that was cut, refused or empty."""

    classes: int
    captions: int = CAPTIONS_PER_QUESTION
    min_tokens: int = 0
    """Tokens that an answer has at least, however little is asked for."""

    def slow_down(self, question: Question, answer: Completion, is_empty: bool) -> bool:
        """Whether less is asked from now on; False if the answer counts as it is."""
        wanted = dict(question.wanted)
        is_single = sum(wanted.values()) == 1
        if answer.finish_reason == "length":
            # A model that thinks spends tokens before it answers, so that fewer captions need no less room.
            self.min_tokens = 2 * question.max_tokens if is_single else question.max_tokens
        elif answer.finish_reason.startswith("too long"):
            self.min_tokens = 0
        elif not is_empty or len(wanted) == 1:
            return False  # an empty answer may be a refusal of one class alone
        if len(wanted) > 1:
            self.classes = len(wanted) // 2
        elif not is_single:
            self.captions = max(wanted.values()) // 2
        return not is_single


@dataclass(frozen=True)
class Questioner:
    """Asks the questions of a request; without a budget it only replays the stored answers."""

    request: CaptionRequest
    cache: ResponseCache
    budget: TokenBudget | None = None

    def replay(self, chunks: Sequence[Chunk]) -> None:
        """Fill the chunks as far as the answers go."""
        for chunk in chunks:
            try:
                self.fill(chunk)
            except Stopped as stop:
                chunk.stopped = str(stop)

    def fill(self, chunk: Chunk) -> None:
        """Ask until every class has its captions or its patience is spent. Raises `Stopped`."""
        patience = BASE_MODEL_PATIENCE if self.request.is_base_model else PATIENCE
        at_a_time = 1 if self.request.texts.one_each else CAPTIONS_PER_QUESTION
        max_asked = patience * MAX_ROUNDS * -(-chunk.stage.per_class // at_a_time)
        asked: Counter[str] = Counter()
        in_vain: Counter[str] = Counter()
        pace = Pace(len(chunk.classes), at_a_time)
        while True:
            missing = chunk.missing()
            short = [name for name in missing if in_vain[name] < patience and asked[name] < max_asked]
            if not short:
                return
            wanted = {name: min(missing[name], pace.captions) for name in short[: pace.classes]}
            question = self._question(chunk, wanted, pace.min_tokens)
            answer = self._answer(chunk, question)
            chunk.answers.append(answer)
            captions = harvest(self.request, chunk, question, answer)
            if not pace.slow_down(question, answer, is_empty=not captions):
                still_missing = chunk.missing()
                for name in wanted:
                    asked[name] += 1
                    in_vain[name] = 0 if still_missing.get(name, 0) < missing[name] else in_vain[name] + 1

    def _question(self, chunk: Chunk, wanted: Mapping[str, int], min_tokens: int) -> Question:
        """The next question about a chunk; its seed makes it another question than the ones before."""
        request, count = self.request, sum(wanted.values())
        wording = request.rules.wording
        if request.is_base_model:
            (name,) = wanted
            text = completion_text(wording.get(name, name), request.domain)
            messages: tuple[Message, ...] = (Message("user", text),)
            max_tokens = TOKENS_PER_CAPTION * count
        else:
            messages = chat_messages(wanted, request.domain, chunk.accepted, wording, request.texts)
            max_tokens = max(TOKENS_BESIDE + TOKENS_PER_CAPTION * count, min_tokens)
        return Question(
            llm=request.llm.name,
            messages=messages,
            wanted=tuple(wanted.items()),
            temperature=request.temperature,
            max_tokens=max_tokens,
            seed=seed_of(request.seed, "captions", chunk.stage.number, *wanted, len(chunk.answers)) % 2**31,
            samples=count if request.is_base_model else 1,
        )

    def _answer(self, chunk: Chunk, question: Question) -> Completion:
        """The stored answer, else a new one, which is stored before anything reads it."""
        stored = self.cache.get(question)
        if stored is not None:
            return stored
        if self.budget is None:
            raise Stopped("not asked yet")
        try:
            with self.budget.reserve(question):
                answer = complete(self.request, question)
                self._store(chunk, question, answer)
                self.budget.count(answer.usage or Usage())
        except Unavailable as error:
            self.budget.count_unanswered(str(error))
            raise Stopped(str(error)) from error
        except Refused as error:
            answer = Completion("", f"refused: {error}", Usage())
            if len(question.wanted) > 1:
                chunk.unsaved.append((question, answer))
            elif self.budget.others_are_answered():
                self._store(chunk, question, answer)
                self.budget.count(Usage())
            else:
                raise
        return answer

    def _store(self, chunk: Chunk, question: Question, answer: Completion) -> None:
        for pair in [*chunk.unsaved, (question, answer)]:
            self.cache.put(*pair)
        chunk.unsaved.clear()


def fill_all(
    questioner: Questioner,
    chunks: Sequence[Chunk],
    budget: TokenBudget,
    concurrency: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> BaseException | None:
    """Fill every chunk, in threads that Ctrl-C need not wait for while a server hangs.

    Returns what the language model raises if it can answer no question; answers are in the cache.
    """
    pending = iter(list(chunks))  # one for all threads: each chunk goes to one of them
    errors: list[BaseException] = []

    def work() -> None:
        for chunk in pending:
            try:
                questioner.fill(chunk)
            except Stopped as stop:
                chunk.stopped = str(stop)
            except BaseException as error:
                errors.append(error)
                budget.stop(str(error))
                return
            advance(len(chunk.classes))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, len(chunks)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        budget.stop("interrupted")
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        raise
    return errors[0] if errors else None


def complete(request: CaptionRequest, question: Question) -> Completion:
    """The model's completion with its tokens; for a base model a line `name: caption` for each sample."""

    def ask(sample: int) -> Completion:
        answer = request.llm.complete(
            question.messages,
            None if request.is_base_model or request.texts.one_each else SCHEMA,
            temperature=question.temperature,
            max_tokens=question.max_tokens // question.samples,
            seed=(question.seed + sample) % 2**31,
        )
        written = len(answer.text.encode("utf-8", "replace"))
        return replace(answer, usage=answer.usage or Usage(-(-question.bytes // 4), -(-written // 4)))

    if not request.is_base_model:
        return ask(0)
    with ThreadPoolExecutor(question.samples) as pool:  # a model may answer several in one batch
        samples = list(pool.map(ask, range(question.samples)))
    opening = question.messages[0].content.rpartition("\n")[2].partition(": ")[2]
    lines = []
    for sample in samples:
        line = sample.text.partition("\n")[0] + (CUT if sample.finish_reason == "length" else "")
        lines.append(f"{question.wanted[0][0]}: {opening}{line}")
    usage = sum((sample.usage or Usage() for sample in samples), Usage())
    return Completion("\n".join(lines), "stop", usage)


def harvest(request: CaptionRequest, chunk: Chunk, question: Question, answer: Completion) -> int:
    """Accept and reject the captions of an answer; their number."""
    text = answer.text
    if answer.finish_reason == "length" and "{" not in text:
        text = text.rpartition("\n")[0]
    parsed = parse_answer(text, dict(question.wanted), request.rules.wording)

    def reject(name: str, caption: object, reason: str) -> None:
        rejection = {"label": name, "caption": caption, "reason": reason, "answer": question.sha256}
        chunk.rejected.append(rejection)

    for name, caption in parsed.unknown:
        reject(name, caption, "unknown class name")
    examples = completion_examples() if request.is_base_model else []
    for name, _ in question.wanted:
        accepted, captions = chunk.accepted[name], parsed.captions.get(name, [])
        for caption in captions:
            reason = request.rules.reason_against(caption, name, [*examples, *accepted])
            if reason is not None:
                reject(name, caption, reason)
                chunk.shortfalls[name][reason] += 1
            elif len(accepted) < chunk.stage.per_class:
                accepted.append(str(caption))
        if not captions:
            chunk.shortfalls[name][f"not in the answer ({answer.finish_reason})"] += 1
    return sum(map(len, parsed.captions.values()))
