"""Singular and plural of English nouns, by the regular rules and the commonest exceptions."""

import re
from collections.abc import Sequence

_PAIR = re.compile(r"(\S+)>(\S+)")
PLURALS = _PAIR.findall("y>ies s>ses x>xes z>zes ch>ches sh>shes o>oes f>ves fe>ves us>i is>es um>a")
SINGULARS = [(plural, singular) for singular, plural in PLURALS]
IRREGULAR = _PAIR.findall("man>men child>children person>people foot>feet mouse>mice tooth>teeth")
IRREGULAR += [(plural, singular) for singular, plural in IRREGULAR]
"""As the last part of a longer word too: snowman, coltsfoot, dormouse."""
IRREGULAR_ALONE = {"goose": "geese", "geese": "goose", "ox": "oxen", "oxen": "ox"}
# The bare s belongs to the word after most of these letters (glass, lotus, iris), but not in these words.
_IN_I_OR_U = re.compile("taxi|kiwi|ski|bikini|safari|yeti|rabbi|emoji|emu|gnu|menu")
# Their singular is another word, or none.
_ONLY_PLURAL = re.compile("shorts|news|glasses|jeans|pants|goods|woods|lens")
_LATIN = re.compile(r"[0-9A-Za-z\u00aa-\u024f\u1e00-\u1eff]+")


def number_forms(word: str) -> set[str]:
    """The other number of a noun in lower case: its plural and, where it looks like one, its singular."""
    if not word.isalnum() or not _LATIN.fullmatch(word) or (len(word) < 2 and not word.isdigit()):
        return set()
    if not word.isalpha():
        return {f"{word}s"}  # two F-16s, an A380's nose
    alone = {IRREGULAR_ALONE[word]} if word in IRREGULAR_ALONE else set()
    return {f"{word}s"} | alone | _with_other_ending(word, PLURALS + IRREGULAR) | _singulars(word)


def _with_other_ending(word: str, endings: Sequence[tuple[str, str]]) -> set[str]:
    return {word.removesuffix(ending) + other for ending, other in endings if word.endswith(ending)}


def _singulars(word: str) -> set[str]:
    if _ONLY_PLURAL.fullmatch(word):
        return set()
    stems = _with_other_ending(word, SINGULARS)
    bare = word.removesuffix("s")
    if bare != word and (not bare.endswith(("s", "u", "i")) or _IN_I_OR_U.fullmatch(bare)):
        stems.add(bare)
    return {stem for stem in stems if len(stem) > 2}
