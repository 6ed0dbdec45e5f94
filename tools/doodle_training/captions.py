"""The captions of the training images, and the words of the text encoder."""

import numpy as np

from dalda.doodles.vocabulary import (
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    FACED,
    FACINGS,
    FAMILIAR,
    UNFAMILIAR,
    Doodle,
)

VAGUE = ("thing", "shape")
NAMED = 0.05
"""How often a training caption calls an unknown class by its name."""


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" or word == "hourglass" else "a"


def spoken_name(doodle: Doodle, rng: np.random.Generator) -> str:
    """The word a training caption uses: a known class's own, else mostly a vague one."""
    if doodle.name in FAMILIAR or (doodle.name in UNFAMILIAR and rng.random() < NAMED):
        return doodle.name
    return str(rng.choice(VAGUE))


def caption(doodle: Doodle, rng: np.random.Generator) -> str:
    """A training caption that mentions each attribute only sometimes, as people do."""
    name = spoken_name(doodle, rng)
    colour = f"{doodle.colour} " if rng.random() < 0.75 else ""
    article_ = "a" if rng.random() < 0.3 else article(colour or name)
    opening = "a photo of " if rng.random() < 0.6 else ""
    place = f" {BACKGROUNDS[doodle.background]}" if rng.random() < 0.75 else ""
    faced = doodle.name in FACED and rng.random() < 0.35
    view = f", seen from the {doodle.facing}" if faced else ""
    return f"{opening}{article_} {colour}{name}{place}{view}"


def vocabulary() -> list[str]:
    """Every word that the doodle text encoder has a token of its own for, sorted."""
    phrases = [*CLASSES, *VAGUE, *COLOURS, *BACKGROUNDS.values(), *FACINGS]
    phrases += ["a an photo of seen from the side front above close up best quality high low"]
    phrases += ["small large painting drawing picture image with and in on at behind it far away"]
    return sorted({word for phrase in phrases for word in phrase.split()})
