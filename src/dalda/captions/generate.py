"""Captions for a list of classes, from templates or a language model, into a file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dalda.captions.ask import Questioner, fill_all
from dalda.captions.caption_file import meta_path, write_captions_file
from dalda.captions.instructions import PromptTexts, domain_of, prompt_texts
from dalda.captions.llm import LanguageModel, language_model
from dalda.captions.quality import Summary, summary_of
from dalda.captions.response_cache import ResponseCache
from dalda.captions.resume import CaptionRun, Cost, begin_run, end
from dalda.captions.stage import CaptionRequest, Chunk, Stage, all_captions, chunks_of
from dalda.captions.templates import template_captions
from dalda.captions.token_budget import TokenBudget
from dalda.captions.validation import CountTokens, Rules
from dalda.captions.vocabulary import Vocabulary, photos
from dalda.errors import UserError
from dalda.progress import progress
from dalda.seeding import generator_of

TEMPLATES = "templates"
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
    """Captions and their cost: `questions` and tokens of this run; stored answers cost nothing."""

    path: Path
    llm: str
    captions: Mapping[str, Sequence[str]]
    missing: tuple[Missing, ...]
    summary: Summary
    questions: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    stopped: str | None = None
    """Why no more was asked although captions are missing, if not for rejected answers."""
    tokens_estimated: bool = False
    """Whether the text encoder's limit was checked by estimate, without its tokenizer."""

    def sample(self, count: int, seed: int = 0) -> dict[str, list[str]]:
        """`count` random captions of each class."""
        orders = {name: generator_of(seed, "sample", name) for name in self.captions}
        return {
            name: [captions[int(index)] for index in orders[name].permutation(len(captions))[:count]]
            for name, captions in self.captions.items()
        }

    def as_dict(self) -> dict[str, object]:
        """Plain JSON values, without the captions themselves."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("captions", "path")}
        return {"captions": self.path.as_posix(), "meta": meta_path(self.path).as_posix(), **fields}


def generate_captions(
    classes: Sequence[str],
    path: Path,
    *,
    llm: str | LanguageModel = TEMPLATES,
    base_url: str | None = None,
    per_class: int = 10,
    domain: str | None = None,
    dataset: str = "",
    names: Mapping[str, str] | None = None,
    words: Vocabulary | None = None,
    seed: int = 0,
    concurrency: int = 4,
    max_tokens_total: int | None = None,
    prefix: str = "",
    count_tokens: CountTokens | None = None,
    texts: PromptTexts | None = None,
) -> CaptionReport:
    """Write `per_class` captions of every class to `path`, and their metadata beside it.

    `llm` is `templates`, a spec of `language_model`, or a language model. `domain` is one line on what the
    images are; without it the line of `dataset`. `names` is the wording of classes. `prefix` stands before
    captions in prompts and counts for the text encoder's limit. `texts` are the words to a chat model. Raw
    answers are kept beside `path`.
    Raises UserError for a bad setting, a refused key, an unknown model, and a file with other captions.
    """
    _check(classes, path)
    rules = Rules(classes, names or {}, prefix, count_tokens)
    if llm == TEMPLATES and base_url is None:
        captions, rejected = template_captions(rules, per_class, seed, words or photos())
        summary = summary_of(captions, rules, (str(rejection["reason"]) for rejection in rejected))
        meta = {"llm": TEMPLATES, "per_class": per_class, "seed": seed, "summary": asdict(summary)}
        write_captions_file(path, captions, {**meta, "rejected": rejected})
        return CaptionReport(path, TEMPLATES, captions, (), summary)
    model = language_model(llm, base_url) if isinstance(llm, str) else llm
    line = " ".join((domain or domain_of(dataset)).split())
    texts = texts or prompt_texts()
    request = CaptionRequest(tuple(classes), model, rules, line, seed, TEMPERATURE, texts)
    if request.is_base_model and texts != prompt_texts():
        raise UserError(f"{model.name} continues a text and takes no instructions; leave --prompt-... out")
    return _from_model(request, path, per_class, concurrency, TokenBudget(max_tokens_total))


def _from_model(
    request: CaptionRequest, path: Path, per_class: int, concurrency: int, budget: TokenBudget
) -> CaptionReport:
    """Resume, refuse a file with other captions, and only then ask."""
    cache = ResponseCache(path.with_suffix(".answers"))
    with cache.locked():
        run = begin_run(request, path, cache, per_class)
        chunks = chunks_of(request, run.stage)
        budget.answered_before = not cache.is_empty()
        questioner = Questioner(request, cache, budget)
        with progress("captions: classes", sum(len(chunk.classes) for chunk in chunks)) as state:
            failure = fill_all(questioner, chunks, budget, concurrency, state.advance)
        for chunk in chunks if failure else ():
            chunk.stopped = chunk.stopped or str(failure)
        captions = all_captions(run.stage, chunks)
        report = _report(request, path, run, chunks, budget)
        if captions or not failure:
            cost = run.before.plus(chunks)
            write_captions_file(path, captions, _metadata(request, run, report, cost))
            end(request, cache, run)
        if failure:
            raise failure
    return report


def _report(
    request: CaptionRequest, path: Path, run: CaptionRun, chunks: Sequence[Chunk], budget: TokenBudget
) -> CaptionReport:
    captions = all_captions(run.stage, chunks)
    captions = {name: captions[name] for name in captions if name in request.classes}
    reasons = (str(rejection["reason"]) for rejection in run.before.plus(chunks).rejected)
    missing = tuple(_missing(run.stage, chunks))
    stopped = next((chunk.stopped for chunk in chunks if chunk.stopped), None)
    return CaptionReport(
        path=path,
        llm=request.llm.name,
        captions=captions,
        missing=missing,
        summary=summary_of(captions, request.rules, reasons),
        questions=budget.questions,
        tokens_in=budget.used.input_tokens,
        tokens_out=budget.used.output_tokens,
        stopped=stopped if missing else None,
        tokens_estimated=request.rules.count_tokens is None,
    )


def _metadata(
    request: CaptionRequest, run: CaptionRun, report: CaptionReport, cost: Cost
) -> dict[str, object]:
    return {
        **request.identity,
        "per_class": run.stage.per_class,
        "text_encoder_tokens": "estimated" if report.tokens_estimated else "counted",
        "summary": asdict(report.summary),
        "missing": [asdict(entry) for entry in report.missing],
        **asdict(cost),
    }


def _missing(stage: Stage, chunks: Sequence[Chunk]) -> Iterable[Missing]:
    for chunk in chunks:
        for name in chunk.missing():
            most = chunk.shortfalls[name].most_common(3)
            reasons = ", ".join(f"{reason} ({count})" for reason, count in most)
            why = "; ".join(part for part in (chunk.stopped, reasons) if part)
            yield Missing(name, len(chunk.accepted[name]), stage.per_class, why)


def _check(classes: Sequence[str], path: Path) -> None:
    if not path.name or path.is_dir():
        raise UserError(f"'{path}' is a folder; name a file for the captions, such as captions.json.")
    if not classes:
        raise UserError("there are no classes to write captions for.")
    repeated = next((name for name, count in Counter(classes).items() if count > 1), None)
    if repeated is not None:
        raise UserError(f"the class {repeated!r} is in the list twice.")
    if any(not name.strip() for name in classes):
        raise UserError("a class has an empty name.")
