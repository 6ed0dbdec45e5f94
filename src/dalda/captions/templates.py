"""Captions without a model: attributes dealt from word lists, seeded by class and index."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields

from dalda.captions.validation import Rules
from dalda.captions.vocabulary import PHOTOS, GrammarWords
from dalda.errors import UserError
from dalda.seeding import generator_of

PassedOver = tuple[str, str, str]
"""Class, caption, and what the rules have against it."""
PATIENCE = 200
"""Captions that are not accepted since one last was, before a class is given up."""
# Silent h; letters that are read by name; 8, 11 and 18; and vowels that do not begin with a "you" or "won".
_VOWEL_SOUND = re.compile(
    r"(?i:hour|heir|honou?r|honest)|[AEFHILMNORSXaefhilmnorsx](?=[-.\d]|$)|[AEFHILMNORSX](?=[B-DF-HJ-NP-TV-Z])"
    r"|8|1[18](?!\d)|(?!(?i:eu|ewe|uni(?!n|m)|us[aeu]|ut[ei]|u[kr][aeiu]|one\b|once\b|ouija|u\b))[aeiouAEIOU]"
)


def base_caption(name: str, *, underscores: bool = False) -> str:
    """The paper's plain caption; the original code writes the name's spaces as `underscores`."""
    return f"a photo of a {name.replace(' ', '_') if underscores else name}"


def grammar_captions(
    classes: Sequence[str],
    per_class: int,
    seed: int,
    *,
    words: GrammarWords = PHOTOS,
    names: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Offline captions, `per_class` different ones for each class, in the order of `classes`.

    A class's captions depend on the seed, the words, the class and on what the rules have against them;
    asking for more of them keeps the first ones. `names` gives the wording of classes whose name reads
    badly in a sentence. Raises UserError when the words cannot make that many captions.
    """
    return deal_captions(Rules(classes, names or {}), per_class, seed, words)[0]


def deal_captions(
    rules: Rules, per_class: int, seed: int, words: GrammarWords
) -> tuple[dict[str, list[str]], list[PassedOver]]:
    """The captions, and those the rules do not accept, such as `... in a forest` beside a class forest.

    A caption may be like another of its class here: a near-duplicate is a model's fault, not a list's.
    """
    possible = math.prod(len(set(phrases)) for phrases in astuple(words))
    if per_class > possible:
        raise UserError(
            f"{per_class} captions a class were asked for, but the grammar's words make only {possible}; "
            "ask for fewer, or let a language model write them."
        )
    passed_over: list[PassedOver] = []
    book = {name: _captions_of(name, rules, per_class, seed, words, passed_over) for name in rules.classes}
    return book, passed_over


def _captions_of(
    label: str, rules: Rules, count: int, seed: int, words: GrammarWords, passed_over: list[PassedOver]
) -> list[str]:
    captions: dict[str, None] = {}
    refused = 0
    for index in itertools.count():
        chosen = {field.name: _deal(words, field.name, label, index, seed) for field in fields(words)}
        caption = _sentence(rules.wording.get(label, label), **chosen)
        reason = rules.reason_against(caption, label, ())
        if reason is not None:
            passed_over.append((label, caption, reason))
            refused += 1
        elif caption not in captions:
            captions[caption] = None
            refused = 0
        if len(captions) == count:
            break
        if refused == PATIENCE:
            raise UserError(
                f"the grammar finds no caption for {label!r} that the rules accept ({reason}); let a "
                "language model write captions (dalda captions --llm), or write a file of your own."
            )
    return list(captions)


def _deal(words: GrammarWords, attribute: str, label: str, index: int, seed: int) -> str:
    """Like cards: each phrase of the list comes once before any comes again."""
    deck: tuple[str, ...] = getattr(words, attribute)
    hand, place = divmod(index, len(deck))
    order = generator_of(seed, "grammar", label, attribute, hand).permutation(len(deck))
    return deck[int(order[place])]


def _sentence(
    name: str, *, colours: str, actions: str, backgrounds: str, surroundings: str, lights: str, views: str
) -> str:
    thing = " ".join(f"{colours} {name.replace('_', ' ')}".split())
    main = " ".join(f"a photo of {article(thing)} {thing} {actions} {backgrounds}".split())
    return ", ".join(clause for clause in (main, surroundings, lights, views) if clause)


def article(phrase: str) -> str:
    """The English article of a phrase, by the sound of its first word: an hour, a unicorn, an F-16."""
    words = phrase.split()
    return "an" if words and _VOWEL_SOUND.match(words[0]) else "a"
