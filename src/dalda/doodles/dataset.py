"""The data set `doodles`: a narrow few-shot part to learn from and the whole world to be tested on.

As in real few-shot sets, each class was seen in one place and in two colours only. Images are
drawn on demand, each from its own seed, and kept as a folder of class folders.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.cache import cache_folder
from dalda.doodles.draw import draw, random_doodle
from dalda.doodles.vocabulary import BACKGROUNDS, CLASSES, COLOURS, FACINGS, Doodle
from dalda.seeding import generator_of, seed_of
from dalda.storage.atomic import write_atomically

VERSION = 1
SEED = 2409_16949
SIZES = {"train": 40, "val": 200}
"""Images per class and part; the original code's split rule uses half of each."""


def default_root() -> Path:
    """The folder of the drawn data set."""
    return cache_folder(f"doodles-v{VERSION}")


def doodle_of(part: str, name: str, number: int) -> tuple[Doodle, np.random.Generator]:
    """What image `number` of a class shows, and the generator that draws it."""
    rng = generator_of(SEED, part, name, number)
    if part != "train":
        return random_doodle(rng, name), rng
    habits = np.random.default_rng(seed_of(SEED, "habits", name))
    place = str(habits.choice(list(BACKGROUNDS)))
    colours = habits.choice(list(COLOURS), 2, replace=False)
    return Doodle(name, str(rng.choice(colours)), place, str(rng.choice(FACINGS))), rng


def draw_dataset(root: Path) -> Path:
    """Draws what is missing under `root` as PART/CLASS/NUMBER.png; returns `root`."""
    for part, count in SIZES.items():
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in folder.glob("*.png")}
            for number in range(count):
                path = folder / f"{number:04}.png"
                if path.name not in there:
                    _write(path, Image.fromarray(draw(*doodle_of(part, name, number))))
    return root


def _write(path: Path, image: Image.Image) -> None:
    """Atomically, and safely beside another process that draws the same image."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    write_atomically(path, stream.getvalue(), shared=True, sync=False)
