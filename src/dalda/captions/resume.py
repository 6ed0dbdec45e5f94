"""How a run begins: it takes up the one that was broken off, or goes on from what is there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dalda.captions.ask import Chunk, GenerationRequest, Rejection, Stage, chunks_of, write_all
from dalda.captions.caption_file import meta_path, read_all, refuse_loss
from dalda.captions.response_cache import ResponseCache
from dalda.errors import UserError


@dataclass(frozen=True)
class Cost:
    """What the captions that are there have cost, and what was rejected on the way."""

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    rejected: tuple[Rejection, ...] = ()

    def plus(self, chunks: Sequence[Chunk]) -> "Cost":
        answers = [answer for chunk in chunks for answer in chunk.answers]
        return Cost(
            self.answers + len(answers),
            self.tokens_in + sum(answer.tokens_in for answer in answers),
            self.tokens_out + sum(answer.tokens_out for answer in answers),
            self.rejected + tuple(rejection for chunk in chunks for rejection in chunk.rejected),
        )


@dataclass(frozen=True)
class Run:
    """One stage of a request. Broken off, it is done again with the same answers, and ends the same."""

    stage: Stage
    before: Cost = Cost()
    done: bool = False
    """Whether its captions are in their file."""


def begin(request: GenerationRequest, path: Path, store: ResponseCache, per_class: int) -> Run:
    """The run that is to be done, noted in the store. Raises UserError for a file with others' captions."""
    run = _next(request, path, store, per_class)
    store.put_record(request_id(request), asdict(run))
    return run


def end(request: GenerationRequest, store: ResponseCache, run: Run) -> None:
    """Note that the captions are in their file."""
    store.put_record(request_id(request), asdict(replace(run, done=True)))


def identity(request: GenerationRequest) -> dict[str, object]:
    """What makes captions those of one request; classes may come and go, and rules may change."""
    return {
        "author": request.author.name,
        "model": request.author.model,
        "domain": request.domain,
        "seed": request.seed,
        "temperature": request.temperature,
        "prompt_prefix": request.rules.prefix,
    }


def request_id(request: GenerationRequest) -> str:
    return hashlib.sha256(json.dumps(identity(request)).encode()).hexdigest()[:20]


def book_of(stage: Stage, chunks: Sequence[Chunk]) -> dict[str, list[str]]:
    """All captions, old and new, in the order of the classes, then those of classes no longer asked for.

    Classes without any caption are left out, so that the file is never mistaken for a whole one.
    """
    written = {name: list(captions) for name, captions in stage.begun_with.items()}
    for chunk in chunks:
        written |= chunk.accepted
    order = [*stage.classes, *(name for name in stage.begun_with if name not in stage.classes)]
    return {name: written[name] for name in order if written.get(name)}


def _next(request: GenerationRequest, path: Path, store: ResponseCache, per_class: int) -> Run:
    last = _noted(request, store)
    if last is None or last.done:
        number = 0 if last is None else last.stage.number + 1
        own = _own(request, path)
        if own is not None:
            return Run(Stage(number, request.classes, per_class, own[0]), own[1])
    if last is None:
        refuse_loss(path, {})
        return Run(Stage(0, request.classes, per_class, {}))
    # Broken off, or its file is gone: what was answered then is replayed.
    chunks = write_all(request, chunks_of(request, last.stage), store, None)
    book = book_of(last.stage, chunks)
    refuse_loss(path, book)
    if (last.stage.classes, last.stage.per_class) == (request.classes, per_class):
        return replace(last, done=False)
    return Run(Stage(last.stage.number + 1, request.classes, per_class, book), last.before.plus(chunks))


def _own(request: GenerationRequest, path: Path) -> tuple[dict[str, list[str]], Cost] | None:
    """The captions in the file and their cost, where its account says that this same request wrote them."""
    try:
        account = json.loads(meta_path(path).read_text(encoding="utf-8"))
        if not path.exists() or any(account[key] != value for key, value in identity(request).items()):
            return None
        return read_all(path), _cost(account)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _noted(request: GenerationRequest, store: ResponseCache) -> Run | None:
    record = store.record(request_id(request))
    if record is None:
        return None
    try:
        assert isinstance(record, dict)
        stage = dict(record["stage"])
        classes = tuple(stage.pop("classes"))
        return Run(Stage(classes=classes, **stage), _cost(record["before"]), bool(record["done"]))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the record of this request in {store.folder / 'requests'} cannot be read; "
            "move that folder away to begin the request anew."
        ) from error


def _cost(told: Mapping[str, object]) -> Cost:
    """Raises KeyError, TypeError or ValueError for what is no account of a cost."""
    answers, tokens_in, tokens_out = (int(str(told[key])) for key in ("answers", "tokens_in", "tokens_out"))
    rejected = told["rejected"]
    if not isinstance(rejected, list):
        raise TypeError("rejected is no list")
    return Cost(answers, tokens_in, tokens_out, tuple(Rejection(**one) for one in rejected))
