"""Drawn examples that benchmarks generate from."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.seeding import generator_of


def drawn_sources(folder: Path, classes: Sequence[str], examples: int, size: int) -> Path:
    """A folder of class folders, with square images of `size` pixels."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(examples):
            rng = generator_of(0, "benchmark", name, number)
            image = Image.fromarray(draw_doodle(random_doodle(rng, name), rng))
            image.resize((size, size), Image.Resampling.NEAREST).save(folder / name / f"{number}.png")
    return folder
