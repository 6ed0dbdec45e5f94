"""A run's aim and its state: the request, its stage, and chunks of a few classes with their captions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dalda.captions.llm import Completion, LanguageModel
from dalda.captions.response_cache import Question
from dalda.captions.validation import Rules

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

    @property
    def is_base_model(self) -> bool:
        return bool(getattr(self.llm, "is_base_model", False))


@dataclass(frozen=True)
class Rejection:
    """A caption that was not accepted; `answer` is the hash of the question that it answers."""

    label: str
    caption: object
    reason: str
    answer: str


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
    accepted: dict[str, list[str]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    shortfalls: dict[str, Counter[str]] = field(default_factory=dict)
    """Per class, why answers brought no caption."""
    answers: list[Completion] = field(default_factory=list)
    stopped: str | None = None
    unsaved: list[tuple[Question, Completion]] = field(default_factory=list)
    """Refusals, which are stored once the model has answered something."""

    def __post_init__(self) -> None:
        self.accepted = {name: list(self.stage.existing.get(name, ())) for name in self.classes}
        self.shortfalls = {name: Counter() for name in self.classes}


def chunks_of(request: CaptionRequest, stage: Stage) -> list[Chunk]:
    """The classes that lack captions, a few at a time, one at a time for a base model."""
    size = 1 if request.is_base_model else CLASSES_PER_QUESTION
    short = [name for name in stage.classes if len(stage.existing.get(name, ())) < stage.per_class]
    return [Chunk(stage, tuple(short[start : start + size])) for start in range(0, len(short), size)]
