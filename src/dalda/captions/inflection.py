"""Singular and plural of English nouns, by the regular rules and the commonest exceptions."""

import re

ENDINGS = dict(
    re.findall(r"(\S+)>(\S+)", "y>ies s>ses x>xes z>zes ch>ches sh>shes o>oes f>ves fe>ves us>i is>es um>a")
)
IRREGULAR = {
    "man": "men",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "mouse": "mice",
    "tooth": "teeth",
}
"""As the last part of a longer word too: snowman, coltsfoot, dormouse."""
IRREGULAR_ALONE = {"goose": "geese", "ox": "oxen"}
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
    plurals = {
        word.removesuffix(singular) + plural
        for singular, plural in ENDINGS.items()
        if word.endswith(singular)
    }
    return {f"{word}s"} | plurals | _irregular(word) | _singulars(word)


def _irregular(word: str) -> set[str]:
    forms = set()
    for singular, plural in IRREGULAR.items():
        for ending, other in ((singular, plural), (plural, singular)):
            if word.endswith(ending):
                forms.add(word.removesuffix(ending) + other)
    for singular, plural in IRREGULAR_ALONE.items():
        forms |= {plural} if word == singular else {singular} if word == plural else set()
    return forms


def _singulars(word: str) -> set[str]:
    if _ONLY_PLURAL.fullmatch(word):
        return set()
    stems = {
        word.removesuffix(plural) + singular
        for singular, plural in ENDINGS.items()
        if word.endswith(plural)
    }
    bare = word.removesuffix("s")
    if bare != word and (not bare.endswith(("s", "u", "i")) or _IN_I_OR_U.fullmatch(bare)):
        stems.add(bare)
    return {stem for stem in stems if len(stem) > 2}
