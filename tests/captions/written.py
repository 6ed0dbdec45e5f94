"""Captions that a fake language model writes, decided by a class name and a salt."""

import hashlib
import random

ACTIONS = [
    "resting",
    "leaning",
    "turning",
    "waiting",
    "glowing",
    "shining",
    "drifting",
    "standing",
    "swaying",
    "peeking",
]
PLACES = [
    "garden",
    "beach",
    "street",
    "kitchen",
    "forest",
    "meadow",
    "harbour",
    "valley",
    "courtyard",
    "workshop",
    "balcony",
    "market",
]
LIGHTS = ["golden", "pale", "cold", "soft", "harsh", "pink", "hazy", "silver", "dim", "bright"]
VIEWS = ["above", "below", "behind", "afar", "nearby", "aside"]
NEAR = [
    "pebbles",
    "ferns",
    "puddles",
    "crates",
    "blankets",
    "leaves",
    "ropes",
    "baskets",
    "lanterns",
    "shells",
    "mosses",
    "tiles",
]


def caption(name: str, salt: str) -> str:
    """One caption, decided by the name and the salt alone."""
    pick = random.Random(hashlib.sha256(f"{name}|{salt}".encode()).digest()).choice
    return (
        f"a {name} {pick(ACTIONS)} among {pick(NEAR)} and {pick(NEAR)} in a {pick(LIGHTS)} {pick(PLACES)}, "
        f"with a {pick(PLACES)} far behind, {pick(LIGHTS)} light, seen from {pick(VIEWS)}"
    )
