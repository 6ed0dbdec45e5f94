"""The word lists of the grammar, as data."""

from dataclasses import dataclass

from dalda.registry import Registry


@dataclass(frozen=True)
class GrammarWords:
    """Phrases per attribute; an empty phrase leaves the attribute out of that caption."""

    colours: tuple[str, ...]
    """Said before the name, so only where a class has no colour of its own."""
    actions: tuple[str, ...]
    backgrounds: tuple[str, ...]
    surroundings: tuple[str, ...]
    lights: tuple[str, ...]
    """The colour and kind of the light, which changes no property of the class."""
    views: tuple[str, ...]


PHOTOS = GrammarWords(
    colours=("",),
    actions=(
        "",
        "half turned away",
        "partly in shadow",
        "slightly tilted",
        "near the edge of the frame",
        "right in the middle",
    ),
    backgrounds=(
        "on wet grass",
        "on a sandy beach",
        "in fresh snow",
        "in front of a brick wall",
        "on a wooden floor",
        "beside a quiet lake",
        "on a stone path",
        "in front of a plain white wall",
        "in a sunny garden",
        "on a city street",
        "against a clear blue sky",
        "at the edge of a forest",
        "by a large window",
        "on a rocky hillside",
    ),
    surroundings=(
        "",
        "surrounded by fallen leaves",
        "with trees in the distance",
        "with wildflowers in the foreground",
        "with people far behind",
        "among scattered pebbles",
        "with mountains on the horizon",
        "with a wooden fence behind",
    ),
    lights=(
        "",
        "in warm golden light",
        "in cool blue light",
        "in soft grey daylight",
        "in bright midday sun",
        "in the pink light of sunset",
        "in greenish shade",
    ),
    views=(
        "",
        "seen from the side",
        "seen from above",
        "seen from below",
        "in a close-up",
        "seen from far away",
        "in a wide shot",
    ),
)

VOCABULARIES: Registry[GrammarWords] = Registry({"photos": PHOTOS})
"""The word lists by name."""
