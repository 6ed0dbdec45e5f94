"""The stage's front door: captions for a list of classes, from any author, into a file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dalda.errors import UserError
from dalda.progress import progress
from dalda.prompts.acceptance import CountTokens, Rules
from dalda.prompts.answers import AnswerStore, Stage
from dalda.prompts.ask import Chunk, Job, Rejection, write_all
from dalda.prompts.author import Author
from dalda.prompts.book import meta_path, refuse_loss, write_book
from dalda.prompts.grammar import grammar_captions
from dalda.prompts.instructions import about_of
from dalda.prompts.keys import read_keys
from dalda.prompts.meter import Meter
from dalda.prompts.quality import Summary, summary_of
from dalda.prompts.words import PHOTOS, GrammarWords
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
    about: str | None = None,
    dataset: str = "",
    names: Mapping[str, str] | None = None,
    words: GrammarWords = PHOTOS,
    seed: int = 0,
    concurrency: int = 4,
    max_tokens_total: int | None = None,
    prefix: str = "",
    count_tokens: CountTokens | None = None,
    answers: Path | None = None,
) -> CaptionReport:
    """Write `per_class` captions of every class to `path`, and their account beside it.

    `llm` is `grammar`, `local`, `openai:MODEL`, `azure:DEPLOYMENT` or `transformers:ID_OR_FOLDER`. `about`
    says in one line what the pictures are; without it the line of `dataset`. `names` gives the wording of
    classes that read badly. `prefix` stands before captions in prompts and counts for the text encoder's
    limit. Raw answers are kept in `answers` (beside `path` unless named), and never asked for again.
    Raises UserError for a bad setting, a refused key, an unknown model, and a file with other captions.
    """
    _check(classes, per_class, concurrency, max_tokens_total)
    rules = Rules(classes, names or {}, prefix, count_tokens)
    if llm == "grammar" and base_url is None:
        return _from_grammar(path, rules, per_class, seed, words)
    author = author_of(llm, base_url)
    line = " ".join((about or about_of(dataset)).split())
    job = Job(tuple(classes), author, rules, line, seed, TEMPERATURE)
    store = AnswerStore(answers or path.with_suffix(".answers"))
    return write_with(job, path, store, per_class, concurrency, Meter(max_tokens_total))


def author_of(llm: str, base_url: str | None = None) -> Author:
    """The language model that a word such as `openai:MODEL` names; keys from the environment or `.env`."""
    kind, _, model = llm.partition(":")
    if base_url is not None and kind != "openai":
        raise UserError(f"--base-url goes with openai:MODEL, not with {llm!r}.")
    if kind == "openai" and model:
        from dalda.prompts.openai_author import openai_author

        return openai_author(model, base_url, read_keys())
    if kind == "azure":
        from dalda.prompts.openai_author import azure_author

        return azure_author(model, read_keys())
    if kind == "transformers" and model:
        from dalda.prompts.transformers_author import transformers_author

        return transformers_author(model)
    if llm == "local":
        from dalda.prompts.local_author import LocalAuthor

        return LocalAuthor()
    raise UserError(
        f"unknown author {llm!r}; use grammar, local, openai:MODEL, azure:DEPLOYMENT "
        "or transformers:ID_OR_FOLDER."
    )


def write_with(
    job: Job, path: Path, store: AnswerStore, per_class: int, concurrency: int, meter: Meter
) -> CaptionReport:
    """Replay what is stored, refuse a file that holds other captions, and only then ask."""
    identity = job_id(job)
    stages = store.stages(identity)
    known = write_all(job, stages, store, None, concurrency)
    stages = _with_aim(stages, per_class)
    refuse_loss(path, _book(known, per_class))
    store.put_stages(identity, stages)
    with progress("captions: classes", len(job.classes)) as state:
        chunks = write_all(job, stages, store, meter, concurrency, state.advance)
    book = _book(chunks, per_class)
    missing = _missing(job, chunks, per_class)
    stopped = next((chunk.stopped for chunk in chunks if chunk.stopped), None)
    if stopped is None:
        short = sum(entry.wanted - entry.captions for entry in missing)
        store.put_stages(identity, [*stages[:-1], Stage(per_class, short)])
    rejected = [rejection for chunk in chunks for rejection in chunk.rejected]
    summary = summary_of(book, job.rules, (rejection.reason for rejection in rejected))
    write_book(path, book, _account(job, chunks, per_class, rejected, missing, summary))
    return CaptionReport(
        path=path,
        author=job.author.name,
        model=job.author.model,
        book=book,
        missing=missing,
        summary=summary,
        questions=meter.questions,
        tokens_in=meter.tokens_in,
        tokens_out=meter.tokens_out,
        stopped=stopped if missing else None,
        tokens_estimated=job.rules.count_tokens is None,
    )


def job_id(job: Job) -> str:
    """Two runs with the same id go on where the other ended."""
    parts = [job.author.name, job.author.model, job.about, job.classes, job.seed, job.temperature]
    written = json.dumps([*parts, sorted(job.rules.wording.items()), job.rules.prefix])
    return hashlib.sha256(written.encode()).hexdigest()[:20]


def _with_aim(stages: list[Stage], per_class: int) -> list[Stage]:
    """The stages, this run's the last; one that is complete or was broken off is taken up again."""
    if stages and stages[-1].per_class == per_class and not stages[-1].missing:
        return stages
    return [*stages, Stage(per_class)]


def _book(chunks: Sequence[Chunk], per_class: int) -> dict[str, list[str]]:
    """Classes without any caption are left out, so that the file is never mistaken for a whole one."""
    return {
        name: written[:per_class] for chunk in chunks for name, written in chunk.accepted.items() if written
    }


def _missing(job: Job, chunks: Sequence[Chunk], per_class: int) -> tuple[Missing, ...]:
    return tuple(
        Missing(name, len(written), per_class, _main_reason(chunk, name))
        for chunk in chunks
        for name, written in chunk.accepted.items()
        if len(written) < per_class
    )


def _main_reason(chunk: Chunk, name: str) -> str:
    told = ", ".join(f"{reason} ({count})" for reason, count in chunk.short[name].most_common(3))
    return "; ".join(part for part in (chunk.stopped, told) if part)


def _account(
    job: Job,
    chunks: Sequence[Chunk],
    per_class: int,
    rejected: Sequence[Rejection],
    missing: Sequence[Missing],
    summary: Summary,
) -> dict[str, object]:
    """A function of the answers alone: the same whether the run was broken off in between or not."""
    answers = [answer for chunk in chunks for answer in chunk.answers]
    return {
        "author": job.author.name,
        "model": job.author.model,
        "about": job.about,
        "per_class": per_class,
        "seed": job.seed,
        "temperature": job.temperature,
        "prompt_prefix": job.rules.prefix,
        "text_encoder_tokens": "estimated" if job.rules.count_tokens is None else "counted",
        "answers": len(answers),
        "tokens_in": sum(answer.tokens_in for answer in answers),
        "tokens_out": sum(answer.tokens_out for answer in answers),
        "summary": asdict(summary),
        "missing": [asdict(entry) for entry in missing],
        "rejected": [asdict(rejection) for rejection in rejected],
    }


def _from_grammar(
    path: Path, rules: Rules, per_class: int, seed: int, words: GrammarWords
) -> CaptionReport:
    book = grammar_captions(rules.classes, per_class, seed, words=words, names=rules.wording)
    summary = summary_of(book, rules, ())
    account = {"author": "grammar", "per_class": per_class, "seed": seed, "summary": asdict(summary)}
    write_book(path, book, account)
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
