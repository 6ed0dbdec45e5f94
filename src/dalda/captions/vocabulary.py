"""Vocabularies of the caption templates: phrases by attribute, one vocabulary for each kind of image."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dalda.registry import Registry


@dataclass(frozen=True)
class Vocabulary:
    """Phrases per attribute; an empty phrase leaves the attribute out of that caption."""

    colours: tuple[str, ...]
    """Before the name, so only where a class has no colour of its own."""
    actions: tuple[str, ...]
    backgrounds: tuple[str, ...]
    surroundings: tuple[str, ...]
    lights: tuple[str, ...]
    """The colour and kind of the light, which changes no property of the class."""
    views: tuple[str, ...]


@cache
def photos(*, nature: bool = False) -> Vocabulary:
    """For photographs of anything: places in which a computer mouse, a car and a house can be.

    With `nature`, of animals and plants: the places where they live.
    """
    text = files("dalda.captions.instructions").joinpath("photos.json").read_text(encoding="utf-8")
    phrases = json.loads(text)
    natural = phrases.pop("nature")
    phrases |= natural if nature else {}
    return Vocabulary(**{name: tuple(words) for name, words in phrases.items()})


VOCABULARIES: Registry[Vocabulary] = Registry({"photos": photos()})
"""By name; a package registers its own."""
