"""Fractals drawn by code: Julia sets in random colours."""

import numpy as np
from PIL import Image

STEPS = 48
"""Iterations of z -> z^2 + c."""
MAX_SIDE = 256
"""Pixels that are computed a side; larger images are enlarged from it."""


def draw_fractal(size: tuple[int, int], generator: np.random.Generator) -> Image.Image:
    """A Julia set of `size` (width, height), by smoothed escape times; each draw is another one.

    The constant c lies just outside the main cardioid of the Mandelbrot set, where Julia sets are rich.
    """
    ratio = min(1.0, MAX_SIDE / max(size))
    width, height = (max(1, round(side * ratio)) for side in size)
    angle = generator.uniform(0, 2 * np.pi)
    edge = np.exp(1j * angle) / 2 - np.exp(2j * angle) / 4
    c = edge * generator.uniform(1.02, 1.15)
    reach = generator.uniform(1.1, 1.6)
    x, y = np.meshgrid(np.linspace(-reach, reach, width), np.linspace(-reach, reach, height))
    z = (x + 1j * y) * np.exp(1j * generator.uniform(0, 2 * np.pi))
    escape = np.full(z.shape, float(STEPS))
    for step in range(STEPS):
        z = np.where(np.abs(z) > 64, 64, z * z + c)
        gone = (np.abs(z) > 2) & (escape == STEPS)
        escape[gone] = np.maximum(step + 1 - np.log2(np.log(np.abs(z[gone])) / np.log(2)), 0)
    phase = generator.uniform(0, 1, 3) + generator.uniform(0.5, 2, 3) * (escape / STEPS)[..., None] ** 0.5
    pixels = 127.5 + 127.5 * np.cos(2 * np.pi * phase)
    fractal = Image.fromarray(pixels.round().astype(np.uint8))
    return fractal.resize(size, Image.Resampling.BILINEAR)
