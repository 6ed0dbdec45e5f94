"""Which classes a caption names: any inflection, whole words, the longer of two nested names."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from dalda.captions.inflection import number_forms

HEAD = 4
FUNCTION_WORDS = re.compile("a|an|and|as|at|by|for|from|i|in|into|is|it|no|of|off|on|or|the|to|up|with")
"""As classes (letters, words of a sign language) these are not named by the same words of a sentence."""
_APOSTROPHES = str.maketrans("", "", "'’‘`´")
# What a name does not reach across. A full stop after one or two letters only shortens (St. Bernard).
_BREAK = re.compile(r"[,;:!?()/…–—、。，；：！？（）]|(?<!\b\w)(?<!\b\w\w)\.| - ")


@lru_cache(maxsize=1)
def _word() -> "re.Pattern[str]":
    """A word; a sign of a script without spaces between words, or with particles (Korean), is one."""
    import regex

    alone = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{So}]"
    run = rf"(?!{alone})[\p{{L}}\p{{M}}\p{{N}}](?:(?!{alone})[\p{{L}}\p{{M}}\p{{N}}+#])*"
    pattern: re.Pattern[str] = regex.compile(rf"{alone}[+#]*|{run}")
    return pattern


@lru_cache(maxsize=1 << 17)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text for comparing, without case and punctuation."""
    return tuple(word.casefold() for clause in _clauses(text) for word in clause)


@lru_cache(maxsize=1 << 17)
def _clauses(text: str) -> tuple[tuple[str, ...], ...]:
    """The words in their case, apart where a comma, a full stop or the like stands between them."""
    plain = (clause.translate(_APOSTROPHES).replace("_", " ") for clause in _BREAK.split(text))
    return tuple(tuple(_word().findall(unicodedata.normalize("NFKC", clause))) for clause in plain)


@dataclass(frozen=True)
class Names:
    """The written forms of every class, each a run of words without the spaces."""

    forms: Mapping[str, frozenset[str]]
    """How a class is named in its own captions: by its wording where it has one (no bass guitar)."""
    owners: Mapping[str, frozenset[str]]
    """The classes of a form; here a class's own name counts beside its wording."""
    broken: frozenset[str]
    """The forms of names that hold a comma, a full stop or the like themselves."""
    cased: Mapping[str, frozenset[str]]
    """Names of one letter, and function words, which count in their own case only."""
    heads: frozenset[str]
    """How forms begin, so that few runs of words are looked at further."""
    longest: int

    @classmethod
    def of(cls, classes: Sequence[str], wording: Mapping[str, str]) -> "Names":
        forms = {name: forms_of(wording.get(name, name)) for name in classes}
        owners: dict[str, set[str]] = {}
        cased: dict[str, set[str]] = {}
        broken: set[str] = set()
        for name in classes:
            for called in {name, wording.get(name, name)}:
                written = forms_of(called)
                broken |= written if len(_clauses(called)) > 1 else set()
                for form in written:
                    owners.setdefault(form, set()).add(name)
                word, *more = [word for clause in _clauses(called) for word in clause] or [""]
                if not more and is_cased(word.casefold()):
                    cased.setdefault(word.casefold(), set()).add(word)
        heads = frozenset(form[:end] for form in owners for end in range(1, HEAD + 1))
        longest = max((len(form) for form in owners), default=0)
        return cls(forms, _frozen(owners), frozenset(broken), _frozen(cased), heads, longest)

    def forms_in(self, text: str) -> list[str]:
        """The forms by which classes are named, from left to right; of nested ones only the longer."""
        clauses = _clauses(text)
        words = [word for clause in clauses for word in clause]
        clause_of = [index for index, clause in enumerate(clauses) for _ in clause]
        spans = []
        for start in range(len(words)):
            run, is_first = "", start == 0 or clause_of[start - 1] != clause_of[start]
            for end in range(start, len(words)):
                run += words[end].casefold()
                if run[:HEAD] not in self.heads or len(run) > self.longest:
                    break
                is_whole = clause_of[start] == clause_of[end] or run in self.broken
                if is_whole and run in self.owners and self._is_in_case(run, words[start], is_first):
                    spans.append((start, end + 1, run))
        return [
            form
            for start, end, form in spans
            if not any(a <= start and end <= b and (b - a) > (end - start) for a, b, _ in spans)
        ]

    def _is_in_case(self, form: str, word: str, is_first: bool) -> bool:
        """The article in "A boat" and "a boat" is neither class A nor class a."""
        if form not in self.cased:
            return True
        if FUNCTION_WORDS.fullmatch(form) and (word.islower() or is_first):
            return False
        return word in self.cased[form]


def is_cased(form: str) -> bool:
    """Whether a name counts in its own case only: one letter, or a function word."""
    return bool(re.fullmatch("[a-z]", form) or FUNCTION_WORDS.fullmatch(form))


def _frozen(sets: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(values) for key, values in sets.items()}


def forms_of(name: str) -> frozenset[str]:
    """All ways to write a name, singular and plural, without the spaces."""
    written = (form.replace(" ", "") for form in _inflections(" ".join(words_of(name))))
    return frozenset(form for form in written if form)


def _inflections(name: str) -> set[str]:
    """The name, its plural and, where it is a plural, its singular: by its last word and by its head."""
    first, _, last = name.rpartition(" ")
    head, joint, rest = re.sub(r" (of|in|and) ", r"|\1 ", name, count=1).partition("|")
    before, _, noun = head.rpartition(" ")
    forms = {name} | {f"{first} {form}" for form in number_forms(last)}
    if joint:
        forms |= {f"{before} {form} {rest}" for form in number_forms(noun)}
    return forms
