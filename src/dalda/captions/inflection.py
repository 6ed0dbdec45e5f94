"""Singular and plural of English nouns, by the regular rules and the commonest exceptions."""

import unicodedata

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
AT_THE_END = {
    "man": "men",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "mouse": "mice",
    "tooth": "teeth",
}
"""Irregular as the last part of a longer word too: snowman, coltsfoot, dormouse."""
WHOLE = {"goose": "geese", "ox": "oxen"}
# The bare s belongs to the word after most of these letters (glass, lotus, iris), but not in these words.
_IN_I_OR_U = {
    "taxi",
    "kiwi",
    "ski",
    "bikini",
    "safari",
    "yeti",
    "rabbi",
    "emoji",
    "emu",
    "gnu",
    "menu",
}
# Their singular is another word, or none.
_ONLY_PLURAL = {"shorts", "news", "glasses", "jeans", "pants", "goods", "woods", "lens"}


def number_forms(word: str) -> set[str]:
    """The other number of a noun in lower case: its plural and, where it looks like one, its singular."""
    if not word.isalnum() or not _is_latin(word) or (len(word) < 2 and not word.isdigit()):
        return set()
    if not word.isalpha():
        return {f"{word}s"}  # two F-16s, an A380's nose
    return {f"{word}s"} | _irregular(word) | _plurals(word) | _singulars(word)


def _is_latin(word: str) -> bool:
    return word.isascii() or all(
        sign.isascii() or unicodedata.name(sign, "").startswith("LATIN") for sign in word
    )


def _irregular(word: str) -> set[str]:
    found = set()
    for singular, plural in AT_THE_END.items():
        for one, other in ((singular, plural), (plural, singular)):
            if word.endswith(one):
                found.add(word.removesuffix(one) + other)
    for singular, plural in WHOLE.items():
        found |= {plural} if word == singular else {singular} if word == plural else set()
    return found


def _plurals(word: str) -> set[str]:
    return {word.removesuffix(one) + many for one, many in ENDINGS if word.endswith(one)}


def _singulars(word: str) -> set[str]:
    if word in _ONLY_PLURAL:
        return set()
    stems = {word.removesuffix(many) + one for one, many in ENDINGS if word.endswith(many)}
    bare = word.removesuffix("s")
    if bare != word and (not bare.endswith(("s", "u", "i")) or bare in _IN_I_OR_U):
        stems.add(bare)
    return {stem for stem in stems if len(stem) > 2}
