"""The data sets `doodles` and `doodles-iid`: few-shot images, and a validation set of the whole world.

In `doodles`, as in real few-shot sets, each class was seen in one place and in two colours only; in
`doodles-iid` the training images are drawn like the validation images, which are the same in both. Images
are drawn on demand, each from its own seed, into a folder of class folders.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dalda.cache import cache_folder
from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.doodles.vocabulary import BACKGROUNDS, CLASSES, COLOURS, FACINGS, Doodle
from dalda.seeding import generator_of, seed_of
from dalda.storage import make_folder, write

VERSION = 1
SEED = 2409_16949
SIZES = {"train": 40, "val": 200}
"""Images per class and part; the split strategy `original` uses half of each."""
PARTS = {"doodles": {"train": "train", "val": "val"}, "doodles-iid": {"train": "train-iid", "val": "val"}}
"""Data set to its parts and how each is drawn."""


def default_root(dataset: str = "doodles") -> Path:
    """The folder of the drawn data set."""
    return cache_folder(f"{dataset}-v{VERSION}")


def doodle_of(drawn: str, name: str, number: int) -> tuple[Doodle, np.random.Generator]:
    """The description of image `number` of a class, and the generator that draws it."""
    rng = generator_of(SEED, drawn, name, number)
    if drawn != "train":
        return random_doodle(rng, name), rng
    habits = np.random.default_rng(seed_of(SEED, "habits", name))
    background = str(habits.choice(list(BACKGROUNDS)))
    colours = habits.choice(list(COLOURS), 2, replace=False)
    return Doodle(name, str(rng.choice(colours)), background, str(rng.choice(FACINGS))), rng


def draw_dataset(root: Path, dataset: str = "doodles") -> Path:
    """Draws what is missing under `root` as PART/CLASS/NUMBER.png; returns `root`."""
    for part, drawn in PARTS[dataset].items():
        for name in CLASSES:
            folder = root / part / name
            make_folder(folder)
            existing = {path.name for path in folder.glob("*.png")}
            for number in range(SIZES[part]):
                path = folder / f"{number:04}.png"
                if path.name not in existing:
                    _write(path, Image.fromarray(draw_doodle(*doodle_of(drawn, name, number))))
    return root


def _write(path: Path, image: Image.Image) -> None:
    """Atomically, and safely beside another process that draws the same image."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    write(path, stream.getvalue(), shared=True, sync=False)
