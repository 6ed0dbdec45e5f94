"""Resuming: a run takes up the one that was killed, or continues from the captions in the file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dalda.captions.ask import Questioner
from dalda.captions.caption_file import meta_path, read_all, refuse_loss
from dalda.captions.response_cache import ResponseCache
from dalda.captions.stage import CaptionRequest, Chunk, Stage, all_captions, chunks_of
from dalda.captions.validation import Rejection
from dalda.errors import UserError
from dalda.storage import exists, read_text


@dataclass(frozen=True)
class Cost:
    """What captions have cost, and what was rejected on the way."""

    answers: int
    tokens_in: int
    tokens_out: int
    rejected: tuple[Rejection, ...]

    def plus(self, chunks: Sequence[Chunk]) -> "Cost":
        usages = [answer.usage for chunk in chunks for answer in chunk.answers if answer.usage]
        return Cost(
            self.answers + len(usages),
            self.tokens_in + sum(usage.input_tokens for usage in usages),
            self.tokens_out + sum(usage.output_tokens for usage in usages),
            (*self.rejected, *(rejection for chunk in chunks for rejection in chunk.rejected)),
        )


@dataclass(frozen=True)
class CaptionRun:
    """One stage of a request. Killed, it is repeated with the same answers, and ends the same."""

    stage: Stage
    before: Cost = Cost(0, 0, 0, ())
    done: bool = False
    """Whether its captions were in their file when it began."""


def begin_run(request: CaptionRequest, path: Path, cache: ResponseCache, per_class: int) -> CaptionRun:
    """The run to do, recorded in the cache. Raises UserError for a file with other captions."""
    run = _next(request, path, cache, per_class)
    if not run.done:
        cache.put_record(request.id, asdict(run))
    return run


def end(request: CaptionRequest, cache: ResponseCache, run: CaptionRun) -> None:
    """Record that the captions are in their file."""
    if not run.done:
        cache.put_record(request.id, asdict(replace(run, done=True)))


def _next(request: CaptionRequest, path: Path, cache: ResponseCache, per_class: int) -> CaptionRun:
    last = _recorded(request, cache)
    number = 0 if last is None else last.stage.number + 1
    if last is None or last.done:
        continued = _in_file(request, path)
        if continued is not None:
            existing, cost = continued
            stage = Stage(number, request.classes, per_class, existing)
            # A run without anything to ask leaves the record of the last one as it is.
            return CaptionRun(stage, cost, done=not chunks_of(request, stage))
    if last is None:
        refuse_loss(path, {})
        return CaptionRun(Stage(number, request.classes, per_class, {}))
    # Killed, or its file is gone: what was answered then is replayed.
    chunks = chunks_of(request, last.stage)
    Questioner(request, cache).replay(chunks)
    captions = all_captions(last.stage, chunks)
    refuse_loss(path, captions)
    if (last.stage.classes, last.stage.per_class) == (request.classes, per_class):
        return replace(last, done=False)
    return CaptionRun(Stage(number, request.classes, per_class, captions), last.before.plus(chunks))


def _in_file(request: CaptionRequest, path: Path) -> tuple[dict[str, list[str]], Cost] | None:
    """The captions in the file and their cost, if its metadata say that this same request wrote them."""
    try:
        meta = json.loads(read_text(meta_path(path)))
        identity = request.identity
        same = all(meta[key] == value for key, value in identity.items())
        if not exists(path) or not same or meta.get("texts") != identity.get("texts"):
            return None
        return read_all(path), TypeAdapter(Cost).validate_python(meta)
    except (UserError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _recorded(request: CaptionRequest, cache: ResponseCache) -> CaptionRun | None:
    try:
        run: CaptionRun | None = TypeAdapter(CaptionRun | None).validate_python(cache.record(request.id))
        return run
    except ValidationError as error:
        raise UserError(
            f"the record of this request in {cache.folder / 'requests'} cannot be read; "
            "move that folder away to start the request again."
        ) from error
