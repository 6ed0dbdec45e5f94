"""Which classes a sentence names: any inflection, whole words, the longer of two nested names."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dalda.prompts.book import loose_name

# Scripts with no space between words, or, in Korean, with particles that cling to them.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
ENDINGS = (
    ("y", "ies"),
    ("s", "ses"),
    ("x", "xes"),
    ("z", "zes"),
    ("ch", "ches"),
    ("sh", "shes"),
    ("o", "oes"),
    ("f", "ves"),
    ("fe", "ves"),
    ("us", "i"),
    ("is", "es"),
    ("um", "a"),
)
_PAIRS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "goose": "geese",
    "mouse": "mice",
    "tooth": "teeth",
    "ox": "oxen",
}
IRREGULAR = _PAIRS | {plural: singular for singular, plural in _PAIRS.items()}
_ASCII_WORD = re.compile(r"[a-z0-9][a-z0-9+#]*")
HEAD = 4
APOSTROPHES = str.maketrans("", "", "'’‘`´")


@lru_cache(maxsize=1 << 17)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text for comparing, without case and punctuation.

    A sign of a script that puts no space between words (Chinese, Japanese, Thai, ...) is a word of its own.
    """
    folded = loose_name(text.translate(APOSTROPHES))
    if folded.isascii():
        return tuple(_ASCII_WORD.findall(folded))
    words: list[str] = []
    within = False
    for character in folded:
        alone = _stands_alone(character)
        if within and (character in "+#" or (_belongs(character) and not alone)):
            words[-1] += character
        else:
            if _belongs(character):
                words.append(character)
            within = _belongs(character) and not alone
    return tuple(words)


def _belongs(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or unicodedata.category(character) == "So"


def _stands_alone(character: str) -> bool:
    return unicodedata.category(character) == "So" or (
        not character.isascii() and unicodedata.name(character, "").startswith(UNSPACED)
    )


@dataclass(frozen=True)
class Names:
    """The written forms of every class, each a run of words with the spaces left out."""

    forms: Mapping[str, frozenset[str]]
    owners: Mapping[str, frozenset[str]]
    heads: frozenset[str]
    """How forms begin, so that few runs of words are looked at further."""
    longest: int

    @classmethod
    def of(cls, classes: Sequence[str], wording: Mapping[str, str]) -> "Names":
        forms = {name: _forms([name, wording.get(name, name)]) for name in classes}
        owners: dict[str, set[str]] = {}
        for name, written in forms.items():
            for form in written:
                owners.setdefault(form, set()).add(name)
        heads = frozenset(form[:end] for form in owners for end in range(1, HEAD + 1))
        longest = max((len(form) for form in owners), default=0)
        return cls(forms, {form: frozenset(names) for form, names in owners.items()}, heads, longest)

    def named_in(self, text: str) -> list[frozenset[str]]:
        """The classes named, from left to right; a set of several where two classes are written alike."""
        words = words_of(text)
        spans = []
        for start in range(len(words)):
            run = ""
            for end in range(start, len(words)):
                run += words[end]
                if run[:HEAD] not in self.heads or len(run) > self.longest:
                    break
                if run in self.owners:
                    spans.append((start, end + 1, self.owners[run]))
        return [names for start, end, names in spans if not _is_within(start, end, spans)]


def _is_within(start: int, end: int, spans: Iterable[tuple[int, int, frozenset[str]]]) -> bool:
    return any(a <= start and end <= b and (b - a) > (end - start) for a, b, _ in spans)


def _forms(names: Iterable[str]) -> frozenset[str]:
    written = set()
    for name in names:
        for form in _inflections(" ".join(words_of(name))):
            joined = form.replace(" ", "")
            if joined:
                written.add(joined)
    return frozenset(written)


def _inflections(name: str) -> set[str]:
    """The name, its plural and, where it is a plural, its singular: by its last word and by its head."""
    first, _, last = name.rpartition(" ")
    head, joint, rest = re.sub(r" (of|in|and) ", r"|\1 ", name, count=1).partition("|")
    before, _, noun = head.rpartition(" ")
    found = {name}
    found |= {f"{first} {form}" for form in number_forms(last)}
    if joint:
        found |= {f"{before} {form} {rest}" for form in number_forms(noun)}
    return found


def number_forms(word: str) -> set[str]:
    """The other number of an English noun, by the regular rules and the commonest exceptions."""
    if not (word.isascii() and word.isalpha() and len(word) > 1):
        return set()
    found = {f"{word}s"}
    if word in IRREGULAR:
        found.add(IRREGULAR[word])
    for singular, plural in ENDINGS:
        if word.endswith(singular):
            found.add(word[: len(word) - len(singular)] + plural)
    # A plural only where the singular's own plural is the word again, and enough of it is left.
    for plural, singular in [(plural, singular) for singular, plural in ENDINGS] + [("s", "")]:
        stem = word[: len(word) - len(plural)] + singular
        if word.endswith(plural) and len(stem) > 2 and not stem.endswith(("s", "u", "i")):
            found.add(stem)
    return found
