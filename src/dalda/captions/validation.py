"""Rules that a caption must keep to, each with the reason that a rejected caption is recorded with."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from dalda.captions.class_matching import FUNCTION_WORDS, Names, is_cased, words_of

WORDS = (4, 60)
TEXT_ENCODER_TOKENS = 77
SIMILAR = 0.8
"""Two captions of a class that share this much of their words are near-duplicates."""
CountTokens = Callable[[str], int]
Rejection = Mapping[str, object]
"""The `label`, `caption` and `reason` of a caption that the rules do not accept; `answer`, where a language
model wrote it, is the hash of the question that it answers."""

_MARKUP = re.compile(
    r"[{}<>\[\]|\\*]|__|(?<!\w)_\w|`[^`]*`|~~|^\s*(?:#|[-•]\s|\d+[.)]\s)|&\w+;|&#\d+;", re.ASCII
)
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
"""Invisible as well, but part of how Persian, Hindi and emoji are written."""
# A model that thinks aloud, without any tag around its thoughts.
_TASK = re.compile(
    r"\b(?:captions?|placeholders?|the user|i (?:should|need|must|will|can|have to)|i'll|let me|let's)\b"
    r"|^(?:okay|ok|wait|hmm|sure|so)\b",
    re.IGNORECASE,
)
_ENDINGS = "com|org|net|io|edu|gov|info|ly|dev|app"
_URL = re.compile(
    rf"[a-z]://|https?:|www\.|\w\.(?:{_ENDINGS})\b|\w\.[a-z]{{2,}}/\w|\w@\w", re.IGNORECASE | re.ASCII
)
CUT = " …"
"""Ending of a base model's caption that was cut."""


@dataclass(frozen=True)
class Rules:
    """The rules for one list of classes; `wording` is a class's name in captions."""

    classes: Sequence[str]
    wording: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    count_tokens: CountTokens | None = None
    """The text encoder's own count, begin and end included; None has it estimated, rather too high."""

    @cached_property
    def names(self) -> Names:
        return Names.of(self.classes, self.wording)

    @cached_property
    def name_words(self) -> Mapping[str, frozenset[str]]:
        """Per class, the words of its name, which all its captions share."""
        return {
            name: self.names.forms[name].union(words_of(name), words_of(self.wording.get(name, name)))
            for name in self.classes
        }

    def reason_against(self, caption: object, label: str, accepted: Sequence[str]) -> str | None:
        """Why a caption of a class is not accepted beside those before it, or None."""
        if not isinstance(caption, str):
            return "not text"
        return (
            _form_reason(caption, self._written(label))
            or self._name_reason(caption, label)
            or self._length_reason(caption)
            or self._repeat_reason(caption, label, accepted)
        )

    def _written(self, label: str) -> list[str]:
        names = [label, self.wording.get(label, label)]
        plain = [" ".join(name.replace("_", " ").split()) for name in names]
        return [name for name in (*names, *plain) if name.strip()]

    def _name_reason(self, caption: str, label: str) -> str | None:
        named, forms = self.names.forms_in(caption), self.names.forms[label]
        if forms.isdisjoint(named) and not self._is_written(caption, label):
            return "does not name its class"
        owners = [self.names.owners[form] for form in named]
        others = sorted({min(classes) for classes in owners if label not in classes})
        return f"names another class: {others[0]}" if others else None

    def _is_written(self, caption: str, label: str) -> bool:
        """Whether a name of signs, or a function word in lower case, is somewhere in the caption."""
        name, forms = self.wording.get(label, label), self.names.forms[label]
        if FUNCTION_WORDS.fullmatch(name):
            return name in words_of(caption)
        is_found_by_words = forms and (name.isalnum() or not any(map(is_cased, forms)))
        return not is_found_by_words and any(written in caption for written in self._written(label))

    def _length_reason(self, caption: str) -> str | None:
        count = self.count_tokens or estimate_tokens
        return (
            "too long for the text encoder" if count(self.prefix + caption) > TEXT_ENCODER_TOKENS else None
        )

    def _repeat_reason(self, caption: str, label: str, accepted: Sequence[str]) -> str | None:
        words = self.telling_words(caption, label)
        for other in accepted:
            if words_of(caption) == words_of(other):
                return "duplicate"
            if overlap(words, self.telling_words(other, label)) >= SIMILAR:
                return "near-duplicate"
        return None

    def telling_words(self, caption: str, label: str) -> frozenset[str]:
        """A caption's words without those of its class's name."""
        return _without(caption, self.name_words[label])


@lru_cache(maxsize=1 << 16)
def _without(caption: str, name_words: frozenset[str]) -> frozenset[str]:
    return frozenset(words_of(caption)) - name_words


def overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """The share of the words of two captions that both have (Jaccard's index), in [0, 1]."""
    shared = len(first & second)
    either = len(first) + len(second) - shared
    return shared / either if either else 1.0


def estimate_tokens(text: str) -> int:
    """CLIP's token count without its tokenizer: a token per six letters of a word, per digit and per sign,
    per byte of other scripts, and two for begin and end."""
    count = 2
    for piece in re.findall(r"[a-zA-Z]+|[^\sa-zA-Z]", text):
        count += -(-len(piece) // 6) if piece.isascii() else len(piece.encode("utf-8", "replace"))
    return count


def _form_reason(caption: str, names: Sequence[str]) -> str | None:
    rest = caption
    for name in names:
        if len(name) > 1 or not name.isalnum():
            rest = rest.replace(name, "name")  # which may hold braces or stars of its own
    if len(rest.splitlines()) > 1:
        return "not one line"
    signs = () if rest.isprintable() else set(rest) - {*_JOINERS}
    if any(unicodedata.category(sign) in _INVISIBLE for sign in signs):
        return "control characters"
    if _URL.search(rest) or _MARKUP.search(rest):
        return "markup, braces or an address"
    if _TASK.search(rest):
        return "speaks of the task"
    if rest.rstrip().endswith(("…", "...")):
        return "breaks off"
    words = sum(any(map(str.isalnum, piece)) for piece in rest.split())
    unspaced = 0 if caption.isascii() else len(words_of(caption))
    if not WORDS[0] <= max(words, unspaced) <= WORDS[1]:
        return f"not of {WORDS[0]} to {WORDS[1]} words"
    return None
