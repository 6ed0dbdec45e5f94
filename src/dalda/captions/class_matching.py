"""Which classes a sentence names: any inflection, whole words, the longer of two nested names."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dalda.captions.caption_file import loose_name
from dalda.captions.inflection import number_forms

# Scripts with no space between words, or, in Korean, with particles that cling to them.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
_ASCII_WORD = re.compile(r"[a-z0-9][a-z0-9+#]*")
HEAD = 4
APOSTROPHES = str.maketrans("", "", "'’‘`´")
# What a name does not reach across. A full stop after one or two letters only shortens (St. Bernard).
_BREAK = re.compile(r"[,;:!?()/…–—、。，；：！？（）]|(?<!\b\w)(?<!\b\w\w)\.| - ")


@lru_cache(maxsize=1 << 17)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text for comparing, without case and punctuation.

    A sign of a script that puts no space between words (Chinese, Japanese, Thai, ...) is a word of its own.
    """
    return tuple(word for clause in clauses_of(text) for word in clause)


@lru_cache(maxsize=1 << 17)
def clauses_of(text: str) -> tuple[tuple[str, ...], ...]:
    """The same words, apart where a comma, a full stop or the like stands between them."""
    return tuple(_words_within(clause) for clause in _BREAK.split(text))


def _words_within(text: str) -> tuple[str, ...]:
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
    """How a class is named in its own captions: by its wording where it has one (no bass guitar)."""
    owners: Mapping[str, frozenset[str]]
    """Whose form a form is; here a class's own name counts beside its wording."""
    broken: frozenset[str]
    """The forms of names that hold a comma, a full stop or the like themselves."""
    heads: frozenset[str]
    """How forms begin, so that few runs of words are looked at further."""
    longest: int

    @classmethod
    def of(cls, classes: Sequence[str], wording: Mapping[str, str]) -> "Names":
        forms = {name: forms_of(wording.get(name, name)) for name in classes}
        owners: dict[str, set[str]] = {}
        broken: set[str] = set()
        for name in classes:
            for said in {name, wording.get(name, name)}:
                written = forms_of(said)
                broken |= written if len(clauses_of(said)) > 1 else set()
                for form in written:
                    owners.setdefault(form, set()).add(name)
        heads = frozenset(form[:end] for form in owners for end in range(1, HEAD + 1))
        longest = max((len(form) for form in owners), default=0)
        owned = {form: frozenset(names) for form, names in owners.items()}
        return cls(forms, owned, frozenset(broken), heads, longest)

    def named_in(self, text: str) -> list[frozenset[str]]:
        """The classes named, from left to right; a set of several where two classes are written alike."""
        return [self.owners[form] for form in self.forms_in(text)]

    def forms_in(self, text: str) -> list[str]:
        """The forms by which classes are named, from left to right; of nested ones the longer alone."""
        clauses = clauses_of(text)
        words = [word for clause in clauses for word in clause]
        clause_of = [index for index, clause in enumerate(clauses) for _ in clause]
        spans = []
        for start in range(len(words)):
            run = ""
            for end in range(start, len(words)):
                run += words[end]
                if run[:HEAD] not in self.heads or len(run) > self.longest:
                    break
                whole = clause_of[start] == clause_of[end] or run in self.broken
                if whole and run in self.owners:
                    spans.append((start, end + 1, run))
        return [form for start, end, form in spans if not _is_within(start, end, spans)]


def _is_within(start: int, end: int, spans: Iterable[tuple[int, int, str]]) -> bool:
    return any(a <= start and end <= b and (b - a) > (end - start) for a, b, _ in spans)


def forms_of(name: str) -> frozenset[str]:
    """All ways to write a name, singular and plural, with the spaces left out."""
    written = (form.replace(" ", "") for form in _inflections(" ".join(words_of(name))))
    return frozenset(form for form in written if form)


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
