"""The loop: ask for what is missing, a few classes at a time, until all is there or it is enough."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from dalda.errors import UserError
from dalda.prompts.acceptance import Rules
from dalda.prompts.answers import AnswerStore, Stage
from dalda.prompts.author import Answer, Author, Message, Question, Unanswered
from dalda.prompts.instructions import chat_messages, completion_examples, completion_text
from dalda.prompts.meter import Meter, Stopped
from dalda.prompts.parsing import parse_answer
from dalda.seeding import seed_of

CLASSES_AT_ONCE = 5
CAPTIONS_AT_ONCE = 10
PATIENCE = {"chat": 4, "completion": 12}
"""Answers that still leave a class short before it is given up, for this run."""


@dataclass(frozen=True)
class Job:
    """What is asked of whom; the answers to it are found again by what stands here."""

    classes: tuple[str, ...]
    author: Author
    rules: Rules
    about: str
    seed: int
    temperature: float


@dataclass(frozen=True)
class Rejection:
    """A caption that was not accepted; `answer` is the address of the raw answer it stands in."""

    label: str
    caption: object
    reason: str
    answer: str


@dataclass
class Chunk:
    """The captions of a few classes, and how they came; a function of the answers alone."""

    classes: tuple[str, ...]
    accepted: dict[str, list[str]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    short: dict[str, Counter[str]] = field(default_factory=dict)
    """Per class, why answers left it short."""
    answers: list[Answer] = field(default_factory=list)
    stopped: str | None = None

    def __post_init__(self) -> None:
        self.accepted = {name: [] for name in self.classes}
        self.short = {name: Counter() for name in self.classes}


def chunks_of(job: Job) -> list[tuple[str, ...]]:
    """The classes as they are asked: a few at a time, one at a time from a base model."""
    size = 1 if job.author.completes else CLASSES_AT_ONCE
    return [job.classes[start : start + size] for start in range(0, len(job.classes), size)]


def write_all(
    job: Job,
    stages: Sequence[Stage],
    store: AnswerStore,
    meter: Meter | None,
    concurrency: int,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Chunk]:
    """Every chunk through every stage. Without a meter nothing is asked: the stored answers are replayed.

    Raises UserError when the author can answer no question at all; what was answered is in the store.
    """

    def one(classes: tuple[str, ...]) -> Chunk:
        chunk = write_chunk(job, classes, stages, store, meter)
        advance(len(classes))
        return chunk

    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        pending = [pool.submit(one, classes) for classes in chunks_of(job)]
        try:
            return [chunk.result() for chunk in pending]
        except BaseException:
            if meter is not None:
                meter.stop("interrupted")
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def write_chunk(
    job: Job, classes: tuple[str, ...], stages: Sequence[Stage], store: AnswerStore, meter: Meter | None
) -> Chunk:
    """One chunk through all stages; only the last of them may ask, the others are replayed."""
    chunk = Chunk(classes)
    for stage in stages:
        chunk.stopped = None
        try:
            _fill(job, chunk, stage.per_class, store, meter if stage is stages[-1] else None)
        except Stopped as stop:
            chunk.stopped = str(stop)
    return chunk


def _fill(job: Job, chunk: Chunk, per_class: int, store: AnswerStore, meter: Meter | None) -> None:
    patience = PATIENCE["completion" if job.author.completes else "chat"]
    tries: Counter[str] = Counter()
    classes_at_once, captions_at_once = len(chunk.classes), CAPTIONS_AT_ONCE
    while True:
        need = {name: per_class - len(chunk.accepted[name]) for name in chunk.classes}
        open_ = [name for name in chunk.classes if need[name] > 0 and tries[name] < patience]
        if not open_:
            return
        wanted = {name: min(need[name], captions_at_once) for name in open_[:classes_at_once]}
        question = compose(job, wanted, chunk.accepted, len(chunk.answers))
        answer = obtain(job.author, question, store, meter)
        chunk.answers.append(answer)
        harvest(job, chunk, question, answer, per_class)
        if answer.finish == "length" and sum(wanted.values()) > 1:
            halved = max(1, len(wanted) // 2)
            if len(wanted) == 1:
                captions_at_once = max(1, max(wanted.values()) // 2)
            classes_at_once = halved
            continue
        for name, count in wanted.items():
            if need[name] - (per_class - len(chunk.accepted[name])) < count:
                tries[name] += 1


def compose(
    job: Job, wanted: Mapping[str, int], written: Mapping[str, Sequence[str]], number: int
) -> Question:
    """The `number`-th question about a chunk; its seed makes it another question than the one before."""
    wording = job.rules.wording
    count = sum(wanted.values())
    if job.author.completes:
        (name,) = wanted
        messages: tuple[Message, ...] = (
            Message("user", completion_text(wording.get(name, name), job.about)),
        )
        max_tokens = 60 * count
    else:
        messages = chat_messages(wanted, job.about, written, wording)
        max_tokens = 400 + 80 * count
    return Question(
        author=job.author.name,
        model=job.author.model,
        messages=messages,
        wanted=tuple(wanted.items()),
        temperature=job.temperature,
        max_tokens=max_tokens,
        seed=seed_of(job.seed, "captions", *wanted, number) % 2**31,
    )


def obtain(author: Author, question: Question, store: AnswerStore, meter: Meter | None) -> Answer:
    """The stored answer, else a new one, which is stored before anyone reads it."""
    stored = store.get(question)
    if stored is not None:
        return stored
    if meter is None:
        raise Stopped("not asked yet")
    meter.reserve(question)
    try:
        answer = author.ask(question)
    except Unanswered as error:
        meter.unanswered(question, str(error))
        raise Stopped(str(error)) from error
    except UserError as error:
        meter.stop(str(error))
        raise
    text = answer.text
    for secret in author.secrets:
        text = text.replace(secret, "***")
    answer = replace(answer, text=text)
    store.put(question, answer)
    meter.answered(question, answer)
    return answer


def harvest(job: Job, chunk: Chunk, question: Question, answer: Answer, per_class: int) -> None:
    """Take from an answer what the rules accept, and note what they do not."""
    text = answer.text
    if answer.finish == "length" and "{" not in text:
        text = text.rpartition("\n")[0]
    wanted = dict(question.wanted)
    parsed = parse_answer(text, wanted, job.rules.wording)
    for name, caption in parsed.unknown:
        chunk.rejected.append(Rejection(name, caption, "unknown class name", question.address))
    examples = completion_examples() if job.author.completes else []
    for name in wanted:
        kept = chunk.accepted[name]
        said = parsed.captions.get(name, [])
        for caption in said:
            reason = job.rules.reason_against(caption, name, [*examples, *kept])
            if reason is not None:
                chunk.rejected.append(Rejection(name, caption, reason, question.address))
                chunk.short[name][reason] += 1
            elif len(kept) < per_class:
                kept.append(str(caption))
        if not said:
            chunk.short[name][f"not in the answer ({answer.finish})"] += 1
