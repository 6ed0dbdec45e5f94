"""The stage's front door: captions for a list of classes, from any author, into a file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dalda.captions.ask import Chunk, GenerationRequest, Stage, chunks_of, write_all
from dalda.captions.caption_file import meta_path, write_book
from dalda.captions.instructions import about_of
from dalda.captions.keys import read_keys
from dalda.captions.llm import LanguageModel
from dalda.captions.quality import Summary, summary_of
from dalda.captions.response_cache import ResponseCache
from dalda.captions.resume import Run, begin, book_of, end, identity
from dalda.captions.templates import deal_captions
from dalda.captions.token_budget import TokenBudget
from dalda.captions.validation import CountTokens, Rules
from dalda.captions.vocabulary import PHOTOS, GrammarWords
from dalda.errors import UserError
from dalda.progress import progress
from dalda.seeding import generator_of

TEMPERATURE = 1.0


@dataclass(frozen=True)
class Missing:
    """A class that got fewer captions than were asked for, and why, most frequent reason first."""

    label: str
    captions: int
    wanted: int
    reason: str


@dataclass(frozen=True)
class CaptionReport:
    """What came of it. `questions` and tokens are those of this run; stored answers cost nothing."""

    path: Path
    author: str
    model: str
    book: Mapping[str, Sequence[str]]
    missing: tuple[Missing, ...]
    summary: Summary
    questions: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    stopped: str | None = None
    """Why no more was asked although something is missing, if that is not for too many bad answers."""
    tokens_estimated: bool = False
    """Whether the text encoder's limit was checked by estimate, for want of its tokenizer."""

    def sample(self, count: int, seed: int = 0) -> dict[str, list[str]]:
        """`count` captions of each class at random, for the eye."""
        return {
            name: [
                captions[int(i)]
                for i in generator_of(seed, "sample", name).permutation(len(captions))[:count]
            ]
            for name, captions in self.book.items()
        }

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values, without the captions themselves."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("book", "path")}
        return {"captions": self.path.as_posix(), "account": meta_path(self.path).as_posix(), **fields}


def write_captions(
    classes: Sequence[str],
    path: Path,
    *,
    llm: str = "grammar",
    base_url: str | None = None,
    per_class: int = 10,
    domain: str | None = None,
    dataset: str = "",
    names: Mapping[str, str] | None = None,
    words: GrammarWords = PHOTOS,
    seed: int = 0,
    concurrency: int = 4,
    max_tokens_total: int | None = None,
    prefix: str = "",
    count_tokens: CountTokens | None = None,
) -> CaptionReport:
    """Write `per_class` captions of every class to `path`, and their account beside it.

    `llm` is `grammar`, `local`, `openai:MODEL`, `azure:DEPLOYMENT` or `transformers:ID_OR_FOLDER`. `domain`
    says in one line what the images are; without it the line of `dataset`. `names` gives the wording of
    classes that read badly. `prefix` stands before captions in prompts and counts for the text encoder's
    limit. Raw answers are kept beside `path`, and never asked for again.
    Raises UserError for a bad setting, a refused key, an unknown model, and a file with other captions.
    """
    _check(classes, per_class, concurrency, max_tokens_total)
    if not path.name or path.is_dir():
        raise UserError(
            f"the captions need a file, and '{path}' is a folder; name one such as captions.json."
        )
    rules = Rules(classes, names or {}, prefix, count_tokens)
    if llm == "grammar" and base_url is None:
        return _from_grammar(path, rules, per_class, seed, words)
    author = author_of(llm, base_url)
    line = " ".join((domain or about_of(dataset)).split())
    request = GenerationRequest(tuple(classes), author, rules, line, seed, TEMPERATURE)
    store = ResponseCache(path.with_suffix(".answers"))
    return write_with(request, path, store, per_class, concurrency, TokenBudget(max_tokens_total))


def author_of(llm: str, base_url: str | None = None) -> LanguageModel:
    """The language model that a word such as `openai:MODEL` names; keys from the environment or `.env`."""
    kind, _, model = llm.partition(":")
    if base_url is not None and kind != "openai":
        raise UserError(f"--base-url goes with openai:MODEL, not with {llm!r}.")
    if kind == "openai" and model:
        from dalda.captions.openai_api import openai_author

        return openai_author(model, base_url, read_keys())
    if kind == "azure":
        from dalda.captions.openai_api import azure_author

        return azure_author(model, read_keys())
    if kind == "transformers" and model:
        from dalda.captions.transformers_llm import transformers_author

        return transformers_author(model)
    if llm == "local":
        from dalda.captions.llama_cpp import LlamaCppModel

        return LlamaCppModel()
    raise UserError(
        f"unknown author {llm!r}; use grammar, local, openai:MODEL, azure:DEPLOYMENT "
        "or transformers:ID_OR_FOLDER."
    )


def write_with(
    request: GenerationRequest,
    path: Path,
    store: ResponseCache,
    per_class: int,
    concurrency: int,
    meter: TokenBudget,
) -> CaptionReport:
    """Take up what is there, refuse a file that holds other captions, and only then ask."""
    with store.locked():
        run = begin(request, path, store, per_class)
        chunks = chunks_of(request, run.stage)
        meter.answered_before = store.has_any()
        with progress("captions: classes", sum(len(chunk.classes) for chunk in chunks)) as state:
            try:
                write_all(request, chunks, store, meter, concurrency, state.advance)
            except UserError as error:
                for chunk in chunks:
                    chunk.stopped = chunk.stopped or str(error)
                if book_of(run.stage, chunks):
                    _save(request, path, store, run, chunks)
                raise
        missing, summary = _save(request, path, store, run, chunks)
    stopped = next((chunk.stopped for chunk in chunks if chunk.stopped), None)
    return CaptionReport(
        path=path,
        author=request.author.name,
        model=request.author.model,
        book=_asked_for(request, run.stage, chunks),
        missing=missing,
        summary=summary,
        questions=meter.questions,
        tokens_in=meter.tokens_in,
        tokens_out=meter.tokens_out,
        stopped=stopped if missing else None,
        tokens_estimated=request.rules.count_tokens is None,
    )


def _save(
    request: GenerationRequest, path: Path, store: ResponseCache, run: Run, chunks: Sequence[Chunk]
) -> tuple[tuple[Missing, ...], Summary]:
    """The captions, then their account, then the note that both are there."""
    missing = _missing(run.stage, chunks)
    cost = run.before.plus(chunks)
    summary = summary_of(
        _asked_for(request, run.stage, chunks),
        request.rules,
        (rejection.reason for rejection in cost.rejected),
    )
    account = {
        **identity(request),
        "per_class": run.stage.per_class,
        "text_encoder_tokens": "estimated" if request.rules.count_tokens is None else "counted",
        "summary": asdict(summary),
        "missing": [asdict(entry) for entry in missing],
        **asdict(cost),
    }
    write_book(path, book_of(run.stage, chunks), account)
    end(request, store, run)
    return missing, summary


def _asked_for(request: GenerationRequest, stage: Stage, chunks: Sequence[Chunk]) -> dict[str, list[str]]:
    return {name: written for name, written in book_of(stage, chunks).items() if name in request.classes}


def _missing(stage: Stage, chunks: Sequence[Chunk]) -> tuple[Missing, ...]:
    return tuple(
        Missing(name, len(written), stage.per_class, _main_reason(chunk, name))
        for chunk in chunks
        for name, written in chunk.accepted.items()
        if len(written) < stage.per_class
    )


def _main_reason(chunk: Chunk, name: str) -> str:
    told = ", ".join(f"{reason} ({count})" for reason, count in chunk.short[name].most_common(3))
    return "; ".join(part for part in (chunk.stopped, told) if part)


def _from_grammar(
    path: Path, rules: Rules, per_class: int, seed: int, words: GrammarWords
) -> CaptionReport:
    book, passed_over = deal_captions(rules, per_class, seed, words)
    summary = summary_of(book, rules, (reason for _, _, reason in passed_over))
    rejected = [{"label": label, "caption": text, "reason": reason} for label, text, reason in passed_over]
    account = {"author": "grammar", "per_class": per_class, "seed": seed, "summary": asdict(summary)}
    write_book(path, book, account | {"rejected": rejected})
    return CaptionReport(path, "grammar", "grammar", book, (), summary)


def _check(classes: Sequence[str], per_class: int, concurrency: int, max_tokens_total: int | None) -> None:
    if not classes:
        raise UserError("there are no classes to write captions for.")
    twice = next((name for name in classes if list(classes).count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the class {twice!r} is in the list twice.")
    if any(not name.strip() for name in classes):
        raise UserError("a class has an empty name.")
    for option, value in (("--per-class", per_class), ("--concurrency", concurrency)):
        if value < 1:
            raise UserError(f"{option} must be at least 1, not {value}.")
    if max_tokens_total is not None and max_tokens_total < 1:
        raise UserError(f"--max-tokens-total must be at least 1, not {max_tokens_total}.")
