"""When a caption may be used: the rules, each with the reason that a rejected caption is kept with."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from dalda.prompts.naming import Names, words_of

WORDS = (4, 60)
TEXT_ENCODER_TOKENS = 77
SIMILAR = 0.8
"""Two captions of a class that share this much of their words are near-duplicates."""
CountTokens = Callable[[str], int]

_MARKUP = re.compile(r"[{}<>\[\]|\\]|\*\*|__|``|~~|^\s*(?:#|[-*•]\s|\d+[.)]\s)|&\w+;|&#\d+;")
_UNSEEN = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
_URL = re.compile(r"https?:|www\.|\w\.(?:com|org|net|io)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rules:
    """The rules for one list of classes; `wording` says how a class is called in captions."""

    classes: Sequence[str]
    wording: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    count_tokens: CountTokens | None = None
    """The text encoder's own count, begin and end included; None has it estimated, rather too high."""
    names: Names = field(init=False)
    own_words: Mapping[str, frozenset[str]] = field(init=False)
    """Per class, the words of its name, which all its captions share."""

    def __post_init__(self) -> None:
        names = Names.of(self.classes, self.wording)
        own = {
            name: names.forms[name].union(words_of(name), words_of(self.wording.get(name, name)))
            for name in self.classes
        }
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "own_words", own)

    def reason_against(self, caption: object, label: str, accepted: Sequence[str]) -> str | None:
        """Why `caption` may not stand for `label` beside those `accepted` before it; None if it may."""
        if not isinstance(caption, str):
            return "not text"
        return (
            _form_reason(caption, [label, self.wording.get(label, label)])
            or self._name_reason(caption, label)
            or self._length_reason(caption)
            or self._repeat_reason(caption, label, accepted)
        )

    def _name_reason(self, caption: str, label: str) -> str | None:
        named = self.names.named_in(caption)
        if not self.names.forms[label]:
            is_named = label in caption
        else:
            is_named = any(label in classes for classes in named)
        if not is_named:
            return "does not name its class"
        others = sorted({min(classes) for classes in named if label not in classes})
        return f"names another class: {others[0]}" if others else None

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
        return _without(caption, self.own_words[label])


@lru_cache(maxsize=1 << 16)
def _without(caption: str, own: frozenset[str]) -> frozenset[str]:
    return frozenset(words_of(caption)) - own


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of the words of two captions that both have (Jaccard's index), in [0, 1]."""
    shared = len(one & other)
    either = len(one) + len(other) - shared
    return shared / either if either else 1.0


def estimate_tokens(text: str) -> int:
    """CLIP's token count without its tokenizer: a token per six letters of a word, per digit and per sign,
    per byte of other scripts, and two for begin and end."""
    count = 2
    for piece in re.findall(r"[a-zA-Z]+|[^\sa-zA-Z]", text):
        count += -(-len(piece) // 6) if piece.isascii() else len(piece.encode("utf-8", "replace"))
    return count


def _form_reason(caption: str, own: Sequence[str]) -> str | None:
    if len(caption.splitlines()) > 1:
        return "not one line"
    if not caption.isprintable() and any(unicodedata.category(sign) in _UNSEEN for sign in caption):
        return "control characters"
    rest = caption
    for name in own:
        rest = rest.replace(name, "name")  # which may hold braces or stars of its own
    if _URL.search(rest) or _MARKUP.search(rest):
        return "markup, braces or an address"
    if not WORDS[0] <= max(len(caption.split()), _unspaced_words(caption)) <= WORDS[1]:
        return f"not of {WORDS[0]} to {WORDS[1]} words"
    return None


def _unspaced_words(caption: str) -> int:
    return len(words_of(caption)) if not caption.isascii() else 0
