"""A run's aim and its state: the request, its stage, and chunks of a few classes with their captions."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from dalda.captions.instructions import PromptTexts, prompt_texts
from dalda.captions.llm import Completion, LanguageModel
from dalda.captions.response_cache import Question
from dalda.captions.validation import Rejection, Rules

CLASSES_PER_QUESTION = 5


@dataclass(frozen=True)
class CaptionRequest:
    """What decides the questions; their answers are found again by it."""

    classes: tuple[str, ...]
    llm: LanguageModel
    rules: Rules
    domain: str
    seed: int
    temperature: float
    texts: PromptTexts = field(default_factory=prompt_texts)

    @property
    def is_base_model(self) -> bool:
        return bool(getattr(self.llm, "is_base_model", False))

    @property
    def identity(self) -> dict[str, object]:
        """What makes captions those of one request; classes may come and go, and rules may change."""
        identity: dict[str, object] = {
            "llm": self.llm.name,
            "domain": self.domain,
            "seed": self.seed,
            "temperature": self.temperature,
            "prompt_prefix": self.rules.prefix,
        }
        return identity if self.texts == prompt_texts() else {**identity, "texts": asdict(self.texts)}

    @property
    def id(self) -> str:
        return hashlib.sha256(json.dumps(self.identity).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Stage:
    """The aim of a run and its beginning; with the answers it decides the captions."""

    number: int
    classes: tuple[str, ...]
    per_class: int
    existing: Mapping[str, Sequence[str]]
    """Captions of earlier runs, which stay as they are."""


@dataclass
class Chunk:
    """A few classes and their captions; a function of the stage and the answers alone."""

    stage: Stage
    classes: tuple[str, ...]
    accepted: dict[str, list[str]] = field(init=False)
    shortfalls: dict[str, Counter[str]] = field(init=False)
    """Per class, why answers brought no caption."""
    rejected: list[Rejection] = field(default_factory=list)
    answers: list[Completion] = field(default_factory=list)
    stopped: str | None = None
    unsaved: list[tuple[Question, Completion]] = field(default_factory=list)
    """Refusals, which are stored once the model has answered something."""

    def __post_init__(self) -> None:
        self.accepted = {name: list(self.stage.existing.get(name, ())) for name in self.classes}
        self.shortfalls = {name: Counter() for name in self.classes}

    def missing(self) -> dict[str, int]:
        """How many captions the classes lack."""
        counts = {name: self.stage.per_class - len(self.accepted[name]) for name in self.classes}
        return {name: count for name, count in counts.items() if count > 0}


def chunks_of(request: CaptionRequest, stage: Stage) -> list[Chunk]:
    """The classes that lack captions, a few at a time, one at a time for a base model."""
    size = 1 if request.is_base_model else CLASSES_PER_QUESTION
    size = max(1, len(stage.classes)) if request.texts.one_each else size
    short = list(Chunk(stage, stage.classes).missing())
    return [Chunk(stage, tuple(short[start : start + size])) for start in range(0, len(short), size)]


def all_captions(stage: Stage, chunks: Sequence[Chunk]) -> dict[str, list[str]]:
    """All captions, old and new, in the order of the classes, then those of classes no longer asked for.

    Classes without any caption are omitted, so that the file is never mistaken for a complete one.
    """
    captions = {name: list(existing) for name, existing in stage.existing.items()}
    for chunk in chunks:
        captions |= chunk.accepted
    order = dict.fromkeys([*stage.classes, *stage.existing])
    return {name: captions[name] for name in order if captions.get(name)}
