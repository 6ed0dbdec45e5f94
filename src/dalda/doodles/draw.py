"""Drawing one doodle: a background, then a thing on it, from one random generator."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dalda.doodles.shapes import SHAPES, Outline, Shapes
from dalda.doodles.vocabulary import BACKGROUNDS, CLASSES, COLOURS, FACINGS, Doodle

SIZE = 32
"""Width and height of a doodle in pixels."""
CANVAS = 128
"""Doodles are drawn this large and then averaged down, which is what smooths their edges."""

Rgb = tuple[int, int, int]
Pixels = NDArray[np.uint8]


def random_doodle(rng: np.random.Generator, name: str | None = None) -> Doodle:
    """Any class (or the one given), colour, background and facing, all equally likely."""
    return Doodle(
        name=name or str(rng.choice(CLASSES)),
        colour=str(rng.choice(list(COLOURS))),
        background=str(rng.choice(list(BACKGROUNDS))),
        facing=str(rng.choice(FACINGS)),
    )


def draw_doodle(doodle: Doodle, rng: np.random.Generator, shapes: Shapes = SHAPES) -> Pixels:
    """An image [SIZE, SIZE, 3] RGB; the generator decides whatever the description leaves open."""
    canvas = _BACKGROUNDS[doodle.background](rng)
    palette = _palette(doodle.colour, rng)
    place = _placement(doodle, rng)
    pen = ImageDraw.Draw(canvas)
    for role, outline in shapes[doodle.name](rng):
        corners = [(float(x), float(y)) for x, y in place(outline)]
        pen.polygon(corners, fill=palette[role])
        if role in ("main", "dark"):
            pen.line([*corners, corners[0]], fill=palette["edge"], width=2)
    return np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.BOX))


def _placement(doodle: Doodle, rng: np.random.Generator) -> Callable[[Outline], Outline]:
    """Scale, tilt, shear, mirror and move: unit outlines to canvas pixels."""
    scale = rng.uniform(40, 56)
    tilt = math.radians(rng.normal(0, 7))
    aspect, shear = rng.uniform(0.9, 1.1), rng.normal(0, 0.05)
    turn = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    matrix = turn @ np.array([[aspect, shear], [0, 1 / aspect]]) * scale
    if doodle.facing == "right":
        matrix = matrix @ np.diag([-1, 1])
    room = max(2.0, CANVAS / 2 - 0.95 * scale) * 0.7
    centre = CANVAS / 2 + rng.uniform(-room, room, 2)
    return lambda outline: outline @ matrix.T + centre


def _jitter(colour: tuple[float, ...], rng: np.random.Generator, spread: float = 13) -> Rgb:
    each, all_ = rng.normal(0, spread, 3).tolist(), rng.normal(0, spread / 2)
    red, green, blue = (
        int(min(max(value + noise + all_, 0), 255)) for value, noise in zip(colour, each, strict=True)
    )
    return red, green, blue


def _palette(colour: str, rng: np.random.Generator) -> dict[str, Rgb]:
    main = _jitter(COLOURS[colour], rng)

    def shade(factor: float) -> Rgb:
        red, green, blue = (min(255, int(value * factor)) for value in main)
        return red, green, blue

    red, green, blue = (int(value + (255 - value) * 0.45) for value in main)
    return {
        "main": main,
        "dark": shade(0.68),
        "edge": shade(0.35),
        "light": (red, green, blue),
        "black": (25, 22, 25),
        "white": (245, 245, 245),
        "grey": (175, 175, 180),
        "brown": _jitter((115, 75, 40), rng, 8),
        "cream": _jitter((235, 220, 195), rng, 6),
    }


def _gradient(top: Rgb, bottom: Rgb, noise: float, rng: np.random.Generator) -> Image.Image:
    depth = np.linspace(0, 1, CANVAS)[:, None, None]
    sheet = np.array(top) * (1 - depth) + np.array(bottom) * depth
    if noise:
        grain = rng.normal(0, noise, (CANVAS // 4, CANVAS // 4, 1))
        sheet = sheet + grain.repeat(4, axis=0)
    columns = np.clip(sheet, 0, 255).astype(np.uint8)
    return Image.fromarray(columns.repeat(CANVAS // columns.shape[1], axis=1))


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Rgb) -> None:
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _sky(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((90, 160, 235), rng), _jitter((185, 220, 250), rng), 0, rng)
    pen = ImageDraw.Draw(sheet)
    for _ in range(rng.integers(2, 5)):
        x, y = rng.uniform(0, CANVAS), rng.uniform(0, CANVAS * 0.8)
        for puff in (-1, 0, 1):
            high = 11 if puff == 0 else 7
            pen.ellipse([x + puff * 10 - 12, y - high, x + puff * 10 + 12, y + 7], fill=(248, 250, 252))
    return sheet


def _grass(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((90, 170, 70), rng), _jitter((50, 130, 45), rng), 12, rng)
    pen = ImageDraw.Draw(sheet)
    for _ in range(50):
        x, y = rng.uniform(0, CANVAS, 2)
        tip = (x + rng.uniform(-4, 4), y - rng.uniform(5, 11))
        pen.line([(x, y), tip], fill=_jitter((60, 150, 55), rng, 22), width=2)
    return sheet


def _sand(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((225, 200, 150), rng), _jitter((205, 175, 120), rng), 9, rng)
    pen = ImageDraw.Draw(sheet)
    for _ in range(40):
        x, y = rng.uniform(0, CANVAS, 2)
        _dot(pen, x, y, 1.5, _jitter((180, 150, 100), rng))
    return sheet


def _bricks(rng: np.random.Generator) -> Image.Image:
    brick = _jitter((165, 80, 60), rng)
    sheet = _gradient(brick, brick, 8, rng)
    pen = ImageDraw.Draw(sheet)
    high = int(rng.integers(14, 20))
    mortar = _jitter((205, 195, 185), rng)
    start = int(rng.integers(high))
    for row, y in enumerate(range(-start, CANVAS, high)):
        pen.line([(0, y), (CANVAS, y)], fill=mortar, width=3)
        for x in range(-(row % 2) * high, CANVAS, 2 * high):
            pen.line([(x, y), (x, y + high)], fill=mortar, width=3)
    return sheet


def _night(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((10, 12, 45), rng, 6), _jitter((35, 30, 80), rng, 6), 0, rng)
    pen = ImageDraw.Draw(sheet)
    for _ in range(25):
        x, y = rng.uniform(0, CANVAS, 2)
        _dot(pen, x, y, rng.uniform(0.8, 2), (235, 235, 210))
    return sheet


def _water(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((30, 120, 150), rng), _jitter((20, 80, 120), rng), 0, rng)
    pen = ImageDraw.Draw(sheet)
    crest, start = _jitter((120, 200, 215), rng), rng.uniform(0, 6)
    for y in range(4, CANVAS, 14):
        wave = [(x, y + start + 3 * math.sin(x / 7 + y)) for x in range(0, CANVAS + 4, 4)]
        pen.line(wave, fill=crest, width=2)
    return sheet


def _snow(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((205, 215, 230), rng, 7), _jitter((245, 247, 250), rng, 4), 0, rng)
    pen = ImageDraw.Draw(sheet)
    for _ in range(25):
        x, y = rng.uniform(0, CANVAS, 2)
        fill = (255, 255, 255) if rng.random() < 0.6 else (190, 205, 225)
        _dot(pen, x, y, rng.uniform(1, 3), fill)
    return sheet


def _sunset(rng: np.random.Generator) -> Image.Image:
    sheet = _gradient(_jitter((120, 60, 130), rng), _jitter((250, 160, 70), rng), 0, rng)
    x, y = rng.uniform(10, CANVAS - 10), rng.uniform(20, 100)
    _dot(ImageDraw.Draw(sheet), x, y, rng.uniform(9, 15), (255, 225, 130))
    return sheet


_BACKGROUNDS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "sky": _sky,
    "grass": _grass,
    "sand": _sand,
    "bricks": _bricks,
    "night": _night,
    "water": _water,
    "snow": _snow,
    "sunset": _sunset,
}
