"""The training images: drawn once, kept in one file."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalda.doodles.draw import SIZE, draw_doodle, random_doodle
from dalda.doodles.shapes import SHAPES
from dalda.doodles.vocabulary import BACKGROUNDS, COLOURS, FAMILIAR, UNFAMILIAR, Doodle
from doodle_training.captions import caption
from doodle_training.nameless import nameless

BLOCK = 1000
CAPTIONS = 4
NAMELESS = "nameless"
DRAWN = {**SHAPES, NAMELESS: nameless}
NAMES = (*FAMILIAR, *UNFAMILIAR, NAMELESS)
# Of all training images: the known classes share 64 %, nameless shapes are 30 %, and the
# unknown classes share 6 %, so that each of them is seen a fifth as often as a known one.
SHARES = np.array([0.64 / 8] * 8 + [0.06 / 4] * 4 + [0.30])

Block = tuple[NDArray[np.uint8], NDArray[np.int64], list[list[str]]]


def labels_of(doodle: Doodle) -> tuple[int, int, int]:
    """Index of name, colour and background."""
    colours, backgrounds = list(COLOURS), list(BACKGROUNDS)
    return NAMES.index(doodle.name), colours.index(doodle.colour), backgrounds.index(doodle.background)


def draw_block(seed: int, count: int, uniform: bool = False) -> Block:
    """Images [count, SIZE, SIZE, 3], labels [count, 3] and CAPTIONS captions each."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty((count, 3), np.int64)
    captions = []
    for index in range(count):
        name = None if uniform else str(rng.choice(NAMES, p=SHARES))
        doodle = random_doodle(rng, name)
        images[index] = draw_doodle(doodle, rng, DRAWN)
        labels[index] = labels_of(doodle)
        captions.append([caption(doodle, rng) for _ in range(CAPTIONS)])
    return images, labels, captions


def make_images(path: Path, count: int, seed: int, uniform: bool = False) -> None:
    """Draws `count` images in parallel and writes them as one npz file, atomically."""
    blocks = count // BLOCK
    with ProcessPoolExecutor() as pool:
        seeds = [seed + index for index in range(blocks)]
        made = list(pool.map(draw_block, seeds, [BLOCK] * blocks, [uniform] * blocks))
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        images=np.concatenate([block[0] for block in made]),
        labels=np.concatenate([block[1] for block in made]),
        captions=np.array([lines for block in made for lines in block[2]]),
    )
    partial.rename(path)
