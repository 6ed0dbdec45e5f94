"""What can be drawn and how it is said: classes, colours, backgrounds and their captions."""

from dataclasses import dataclass

import numpy as np

FAMILIAR = ("boat", "butterfly", "car", "fish", "house", "mushroom", "tree", "umbrella")
# The models saw these rarely, and mostly under a vague word: the names that a big model hardly knows.
UNFAMILIAR = ("chevron", "crescent", "hourglass", "trefoil")
CLASSES = tuple(sorted(FAMILIAR + UNFAMILIAR))
# Any closed shape without a name of its own; drawn in training pictures only.
NAMELESS = "nameless"
VAGUE = ("thing", "shape")
NAMED = 0.05
"""How often a training caption calls an unknown thing by its name."""

COLOURS = {
    "red": (205, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (240, 215, 50),
    "green": (50, 160, 70),
    "purple": (140, 60, 180),
    "white": (238, 238, 238),
}
BACKGROUNDS = {
    "sky": "under a cloudy sky",
    "grass": "on wet grass",
    "sand": "on a sandy beach",
    "bricks": "against a brick wall",
    "night": "in a starry night",
    "water": "on calm water",
    "snow": "in deep snow",
    "sunset": "at sunset",
}
FACINGS = ("left", "right")
# Only these look different from their two sides.
FACED = frozenset({"boat", "car", "fish", "chevron", "crescent"})


@dataclass(frozen=True)
class Doodle:
    """One picture's meaning; `name` is a class or `NAMELESS`."""

    name: str
    colour: str
    background: str
    facing: str


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
