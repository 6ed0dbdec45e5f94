"""Resuming: a run takes up the one that was killed, or continues from the captions in the file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dalda.captions.ask import replay
from dalda.captions.caption_file import meta_path, read_all, refuse_loss
from dalda.captions.response_cache import ResponseCache
from dalda.captions.stage import CaptionRequest, Chunk, Rejection, Stage, chunks_of
from dalda.errors import UserError
from dalda.storage import exists, read_text


@dataclass(frozen=True)
class Cost:
    """What captions have cost, and what was rejected on the way."""

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    rejected: tuple[Rejection, ...] = ()

    def plus(self, chunks: Sequence[Chunk]) -> "Cost":
        usages = [answer.usage for chunk in chunks for answer in chunk.answers if answer.usage]
        return Cost(
            self.answers + len(usages),
            self.tokens_in + sum(usage.input_tokens for usage in usages),
            self.tokens_out + sum(usage.output_tokens for usage in usages),
            self.rejected + tuple(rejection for chunk in chunks for rejection in chunk.rejected),
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Cost":
        """From JSON values. Raises KeyError, TypeError or ValueError for anything else."""
        answers, tokens_in, tokens_out = (
            int(values[key]) for key in ("answers", "tokens_in", "tokens_out")
        )
        rejected = tuple(Rejection(**rejection) for rejection in values["rejected"])
        return cls(answers, tokens_in, tokens_out, rejected)


@dataclass(frozen=True)
class CaptionRun:
    """One stage of a request. Killed, it is repeated with the same answers, and ends the same."""

    stage: Stage
    before: Cost = Cost()
    done: bool = False
    """Whether its captions are in their file."""


def begin(request: CaptionRequest, path: Path, cache: ResponseCache, per_class: int) -> CaptionRun:
    """The run to do, recorded in the cache. Raises UserError for a file with other captions."""
    run = _next(request, path, cache, per_class)
    cache.put_record(request_id(request), asdict(run))
    return run


def end(request: CaptionRequest, cache: ResponseCache, run: CaptionRun) -> None:
    """Record that the captions are in their file."""
    cache.put_record(request_id(request), asdict(replace(run, done=True)))


def identity(request: CaptionRequest) -> dict[str, object]:
    """What makes captions those of one request; classes may come and go, and rules may change."""
    return {
        "llm": request.llm.name,
        "domain": request.domain,
        "seed": request.seed,
        "temperature": request.temperature,
        "prompt_prefix": request.rules.prefix,
    }


def request_id(request: CaptionRequest) -> str:
    return hashlib.sha256(json.dumps(identity(request)).encode()).hexdigest()[:20]


def all_captions(stage: Stage, chunks: Sequence[Chunk]) -> dict[str, list[str]]:
    """All captions, old and new, in the order of the classes, then those of classes no longer asked for.

    Classes without any caption are omitted, so that the file is never mistaken for a complete one.
    """
    captions = {name: list(existing) for name, existing in stage.existing.items()}
    for chunk in chunks:
        captions |= chunk.accepted
    order = [*stage.classes, *(name for name in stage.existing if name not in stage.classes)]
    return {name: captions[name] for name in order if captions.get(name)}


def _next(request: CaptionRequest, path: Path, cache: ResponseCache, per_class: int) -> CaptionRun:
    last = _recorded(request, cache)
    if last is None or last.done:
        number = 0 if last is None else last.stage.number + 1
        own = _own_captions(request, path)
        if own is not None:
            return CaptionRun(Stage(number, request.classes, per_class, own[0]), own[1])
    if last is None:
        refuse_loss(path, {})
        return CaptionRun(Stage(0, request.classes, per_class, {}))
    # Killed, or its file is gone: what was answered then is replayed.
    chunks = chunks_of(request, last.stage)
    replay(request, chunks, cache)
    captions = all_captions(last.stage, chunks)
    refuse_loss(path, captions)
    if (last.stage.classes, last.stage.per_class) == (request.classes, per_class):
        return replace(last, done=False)
    stage = Stage(last.stage.number + 1, request.classes, per_class, captions)
    return CaptionRun(stage, last.before.plus(chunks))


def _own_captions(request: CaptionRequest, path: Path) -> tuple[dict[str, list[str]], Cost] | None:
    """The captions in the file and their cost, if its metadata say that this same request wrote them."""
    try:
        meta = json.loads(read_text(meta_path(path)))
        if not exists(path) or any(meta[key] != value for key, value in identity(request).items()):
            return None
        return read_all(path), Cost.read(meta)
    except (UserError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _recorded(request: CaptionRequest, cache: ResponseCache) -> CaptionRun | None:
    record: Any = cache.record(request_id(request))
    if record is None:
        return None
    try:
        stage = {**record["stage"], "classes": tuple(record["stage"]["classes"])}
        return CaptionRun(Stage(**stage), Cost.read(record["before"]), bool(record["done"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the record of this request in {cache.folder / 'requests'} cannot be read; "
            "move that folder away to start the request again."
        ) from error
