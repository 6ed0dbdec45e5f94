"""Prints the table of README.md of what a preset takes: GPU, memory, disk, time, cost and licence.

Computed from the published models' sizes and TFLOP (dalda.models.catalogue), not measured.
"""

import math
from collections.abc import Iterator

from dalda.models.catalogue import PEAK_TERAFLOPS, PUBLISHED
from dalda.models.presets import PRESETS

SHOWN = ("sd15", "sd15-hyper", "sdxl", "sdxl-turbo", "sd35", "flux-schnell", "z-image")
CARDS = (6, 8, 12, 16, 24, 40, 48, 80)
"""Gigabytes of common cards."""
CARD, IMAGES, PRICE = "A100", 1000, 2.0
"""The card of the times, which holds all of these, how many images, and dollars for an hour of it."""


def table() -> Iterator[str]:
    time, cost = f"{IMAGES:,} images on an {CARD}", f"at {PRICE:g} $ an hour"
    yield f"| `--model` | GPU | its memory | download | {time} | {cost} | licence of the model |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name in SHOWN:
        known = PUBLISHED[name]
        memory = known.memory_gigabytes()
        card = next(size for size in CARDS if size >= memory)
        seconds = IMAGES * known.seconds_per_image(PRESETS[name], PEAK_TERAFLOPS[CARD])
        yield (
            f"| `{name}` | {card} GB | {memory:.1f} GB | {known.download_gigabytes:.1f} GB | "
            f"{math.ceil(seconds / 60)} min | {seconds / 3600 * PRICE:.2f} $ | {known.licence} |"
        )


if __name__ == "__main__":
    print("\n".join(table()))
