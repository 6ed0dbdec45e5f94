"""Captions from templates: phrases dealt from a vocabulary, seeded by class and index."""

import itertools
import math
import re
from dataclasses import astuple, fields

from dalda.captions.validation import Rejection, Rules
from dalda.captions.vocabulary import Vocabulary, photos
from dalda.datasets.wordnet import lives_in_nature
from dalda.errors import UserError
from dalda.seeding import generator_of

PATIENCE = 200
"""Rejected captions in a row before a class is given up."""
# Silent h; letters that are read by name; 8, 11 and 18; and vowels that do not begin with a "you" or "won".
_VOWEL_SOUND = re.compile(
    r"(?i:hour|heir|honou?r|honest)|[AEFHILMNORSXaefhilmnorsx](?=[-.\d]|$)|[AEFHILMNORSX](?=[B-DF-HJ-NP-TV-Z])"
    r"|8|1[18](?!\d)|(?!(?i:eu|ewe|uni(?!n|m)|us[aeu]|ut[ei]|u[kr][aeiu]|one\b|once\b|ouija|u\b))[aeiouAEIOU]"
)


def base_caption(name: str, *, underscores: bool = False) -> str:
    """The paper's plain caption; the original code writes the name's spaces as `underscores`."""
    return f"a photo of a {name.replace(' ', '_') if underscores else name}"


def template_captions(
    rules: Rules, per_class: int, seed: int, words: Vocabulary
) -> tuple[dict[str, list[str]], list[Rejection]]:
    """`per_class` different captions for each class in order, and those that the rules reject, such as
    `... in a forest` beside a class forest.

    They depend on the seed, the vocabulary, the class and the rules alone; asking for more keeps them.
    Near-duplicates are accepted: the phrases are few. Raises UserError if the vocabulary cannot make so
    many captions.
    """
    possible = math.prod(len(set(phrases)) for phrases in astuple(words))
    if per_class > possible:
        raise UserError(
            f"{per_class} captions a class were asked for, but the templates make only {possible}; "
            "ask for fewer, or let a language model write them."
        )
    rejected: list[Rejection] = []
    captions = {name: _captions_of(name, rules, per_class, seed, words, rejected) for name in rules.classes}
    return captions, rejected


def _captions_of(
    label: str, rules: Rules, count: int, seed: int, words: Vocabulary, rejected: list[Rejection]
) -> list[str]:
    captions: dict[str, None] = {}
    in_vain = 0
    name = rules.wording.get(label, label)
    if words == photos() and lives_in_nature(name):
        words = photos(nature=True)
    for index in itertools.count():
        phrases = {field.name: _deal(words, field.name, label, index, seed) for field in fields(words)}
        caption = _sentence(name, **phrases)
        reason = rules.reason_against(caption, label, ())
        if reason is not None:
            rejected.append({"label": label, "caption": caption, "reason": reason})
            in_vain += 1
        elif caption not in captions:
            captions[caption] = None
            in_vain = 0
        if len(captions) == count:
            break
        if in_vain == PATIENCE:
            raise UserError(
                f"the templates make no caption for {label!r} that the rules accept ({reason}); let a "
                "language model write captions (dalda captions --llm), or write a file of your own."
            )
    return list(captions)


def _deal(words: Vocabulary, attribute: str, label: str, index: int, seed: int) -> str:
    """Like cards: each phrase of the list comes once before any comes again."""
    deck: tuple[str, ...] = getattr(words, attribute)
    hand, position = divmod(index, len(deck))
    order = generator_of(seed, "grammar", label, attribute, hand).permutation(len(deck))
    return deck[int(order[position])]


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
