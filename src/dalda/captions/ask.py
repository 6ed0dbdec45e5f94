"""The loop: ask for what is missing, a few classes at a time, until all is there or it is enough."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from dalda.captions.instructions import chat_messages, completion_examples, completion_text
from dalda.captions.llm import Answer, LanguageModel, Message, Question, Refused, Unanswered
from dalda.captions.parsing import parse_answer
from dalda.captions.response_cache import ResponseCache
from dalda.captions.token_budget import Stopped, TokenBudget
from dalda.captions.validation import Rules
from dalda.errors import UserError
from dalda.seeding import seed_of

CLASSES_AT_ONCE = 5
CAPTIONS_AT_ONCE = 10
PATIENCE = {"chat": 4, "completion": 12}
"""Answers in a row that bring a class nothing before it is given up, for this run."""
ROUNDS = 3
"""For each ten captions of a class, it is asked about at most so many times as often as patience allows."""
TOKENS_PER_CAPTION = 60
TOKENS_BESIDE = 1000
"""Of an answer: for its form, and for a model that thinks before it speaks."""


@dataclass(frozen=True)
class GenerationRequest:
    """What is asked of whom; the answers to it are found again by what stands here."""

    classes: tuple[str, ...]
    author: LanguageModel
    rules: Rules
    domain: str
    seed: int
    temperature: float


@dataclass(frozen=True)
class Rejection:
    """A caption that was not accepted; `answer` is the address of the raw answer it stands in."""

    label: str
    caption: object
    reason: str
    answer: str


@dataclass(frozen=True)
class Stage:
    """What a run sets out to do, and from where; with the answers it decides all that comes of it."""

    number: int
    classes: tuple[str, ...]
    per_class: int
    begun_with: Mapping[str, Sequence[str]]
    """The captions that were there before, which are kept as they are."""


@dataclass
class Chunk:
    """The captions of a few classes, and how they came; a function of the stage and the answers alone."""

    stage: Stage
    classes: tuple[str, ...]
    accepted: dict[str, list[str]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    short: dict[str, Counter[str]] = field(default_factory=dict)
    """Per class, why answers left it short."""
    answers: list[Answer] = field(default_factory=list)
    stopped: str | None = None

    def __post_init__(self) -> None:
        self.accepted = {name: list(self.stage.begun_with.get(name, ())) for name in self.classes}
        self.short = {name: Counter() for name in self.classes}


def chunks_of(request: GenerationRequest, stage: Stage) -> list[Chunk]:
    """The classes that lack captions, a few at a time, one at a time for a base model."""
    size = 1 if request.author.completes else CLASSES_AT_ONCE
    short = [name for name in stage.classes if len(stage.begun_with.get(name, ())) < stage.per_class]
    return [Chunk(stage, tuple(short[start : start + size])) for start in range(0, len(short), size)]


def write_all(
    request: GenerationRequest,
    chunks: Sequence[Chunk],
    store: ResponseCache,
    meter: TokenBudget | None,
    concurrency: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> Sequence[Chunk]:
    """Fill every chunk. Without a meter nothing is asked: the stored answers are replayed.

    Raises UserError when the author can answer no question at all; what was answered is in the store.
    """

    def one(chunk: Chunk) -> Chunk:
        try:
            fill(request, chunk, store, meter)
        except Stopped as stop:
            chunk.stopped = str(stop)
        advance(len(chunk.classes))
        return chunk

    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        pending = [pool.submit(one, chunk) for chunk in chunks]
        try:
            return [chunk.result() for chunk in pending]
        except BaseException:
            if meter is not None:
                meter.stop("interrupted")
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@dataclass
class Pace:
    """How much is asked at a time; less after an answer that was cut or a question that was not taken."""

    classes: int
    captions: int = CAPTIONS_AT_ONCE
    room: int = 0
    """Tokens that an answer has at least, however little is asked for."""

    def slow_down(self, wanted: Mapping[str, int], question: Question, answer: Answer) -> bool:
        """Whether less is asked from now on; False where the answer is to be taken as it is."""
        whole = sum(wanted.values()) == 1
        if answer.finish == "length":
            # A model that thinks spends tokens before it speaks, so that less to say needs no less room.
            self.room = 2 * question.max_tokens if whole else question.max_tokens
        elif answer.finish == "too much":
            self.room = 0
        elif not answer.finish.startswith(NOT_TAKEN) or len(wanted) == 1:
            return False
        if len(wanted) > 1:
            self.classes = len(wanted) // 2
        elif not whole:
            self.captions = max(wanted.values()) // 2
        return not whole


NOT_TAKEN = ("refused", "content_filter")
"""How an answer ends to a question that is not taken, perhaps for one of its classes alone."""


def fill(request: GenerationRequest, chunk: Chunk, store: ResponseCache, meter: TokenBudget | None) -> None:
    """Ask until every class has its captions, or has been asked about often enough; raises `Stopped`."""
    patience = PATIENCE["completion" if request.author.completes else "chat"]
    most = patience * ROUNDS * -(-chunk.stage.per_class // CAPTIONS_AT_ONCE)
    asked: Counter[str] = Counter()
    barren: Counter[str] = Counter()
    pace = Pace(len(chunk.classes))
    while True:
        need = {name: chunk.stage.per_class - len(chunk.accepted[name]) for name in chunk.classes}
        short = [name for name in need if need[name] > 0 and barren[name] < patience and asked[name] < most]
        if not short:
            return
        wanted = {name: min(need[name], pace.captions) for name in short[: pace.classes]}
        question = compose(request, chunk, wanted, pace.room)
        answer = obtain(request.author, question, store, meter)
        chunk.answers.append(answer)
        before = {name: len(chunk.accepted[name]) for name in wanted}
        harvest(request, chunk, question, answer)
        if not pace.slow_down(wanted, question, answer):
            for name in wanted:
                asked[name] += 1
                barren[name] = 0 if len(chunk.accepted[name]) > before[name] else barren[name] + 1


def compose(request: GenerationRequest, chunk: Chunk, wanted: Mapping[str, int], room: int = 0) -> Question:
    """The next question about a chunk; its seed makes it another question than the ones before."""
    wording = request.rules.wording
    count = sum(wanted.values())
    if request.author.completes:
        (name,) = wanted
        messages: tuple[Message, ...] = (
            Message("user", completion_text(wording.get(name, name), request.domain)),
        )
        max_tokens = TOKENS_PER_CAPTION * count
    else:
        messages = chat_messages(wanted, request.domain, chunk.accepted, wording)
        max_tokens = max(TOKENS_BESIDE + TOKENS_PER_CAPTION * count, room)
    return Question(
        author=request.author.name,
        model=request.author.model,
        messages=messages,
        wanted=tuple(wanted.items()),
        temperature=request.temperature,
        max_tokens=max_tokens,
        seed=seed_of(request.seed, "captions", chunk.stage.number, *wanted, len(chunk.answers)) % 2**31,
        samples=count if request.author.completes else 1,
    )


def obtain(
    author: LanguageModel, question: Question, store: ResponseCache, meter: TokenBudget | None
) -> Answer:
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
    except Refused as error:
        if not meter.others_are_answered(question):
            meter.stop(str(error))
            raise
        answer = Answer("", f"refused: {error}", 0, 0)
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


def harvest(request: GenerationRequest, chunk: Chunk, question: Question, answer: Answer) -> None:
    """Take from an answer what the rules accept, and note what they do not."""
    text = answer.text
    if answer.finish == "length" and "{" not in text:
        text = text.rpartition("\n")[0]
    wanted = dict(question.wanted)
    parsed = parse_answer(text, wanted, request.rules.wording)
    for name, caption in parsed.unknown:
        chunk.rejected.append(Rejection(name, caption, "unknown class name", question.address))
    examples = completion_examples() if request.author.completes else []
    for name in wanted:
        kept = chunk.accepted[name]
        said = parsed.captions.get(name, [])
        for caption in said:
            reason = request.rules.reason_against(caption, name, [*examples, *kept])
            if reason is not None:
                chunk.rejected.append(Rejection(name, caption, reason, question.address))
                chunk.short[name][reason] += 1
            elif len(kept) < chunk.stage.per_class:
                kept.append(str(caption))
        if not said:
            chunk.short[name][f"not in the answer ({answer.finish})"] += 1
