"""What can be drawn: classes, colours, backgrounds, and the words for them."""

from dataclasses import dataclass

FAMILIAR = ("boat", "butterfly", "car", "fish", "house", "mushroom", "tree", "umbrella")
"""The classes that the embedded CLIP knows by name."""
UNFAMILIAR = ("chevron", "crescent", "hourglass", "trefoil")
"""The models saw these rarely and mostly under a vague word, as a large model sees rare names."""
CLASSES = tuple(sorted(FAMILIAR + UNFAMILIAR))

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
    """The description of one image."""

    name: str
    colour: str
    background: str
    facing: str
