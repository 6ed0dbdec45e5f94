"""Makes the synthetic sets on which `tools/scale_rules.py` tries rules for the IP-Adapter scale.

    python tools/scale_pools.py FOLDER --seeds 10 11 12

An adapter whose output weights are multiplied by a strength adds, at a scale, what the shipped one adds at
strength x scale: so one set of images per product serves the adapters of all strengths.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from dalda.config import AugmentConfig
from dalda.generation.backends.base import ImageGenerator
from dalda.types import GenerationRequest
from dalda.workflows.augment import augment
from dalda.workflows.augment_plan import load_generator, preset_of

STRENGTHS = (1.0, 0.5, 2.0)
GRID = (0.0, 0.15, 0.3, 0.6, 0.9)
"""Scales that a rule chooses from, whatever the adapter's strength."""
SHOTS, PER_IMAGE = 2, 4


class Strengthened:
    """A generator whose adapter's output weights are multiplied by a strength."""

    def __init__(self, generator: ImageGenerator, strength: float) -> None:
        self.generator, self.strength = generator, strength
        self.image_size, self.capabilities = generator.image_size, generator.capabilities
        self.fingerprint = {**generator.fingerprint, "strength": strength}

    def generate(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        scaled = [replace(x, ip_adapter_scale=x.ip_adapter_scale * self.strength) for x in requests]
        return self.generator.generate(scaled, images)


def config_of(folder: Path, dataset: str, seed: int, scale: str, strength: float = 1.0) -> AugmentConfig:
    """The set of a policy's images; of a fixed scale, the strength is in the scale."""
    return AugmentConfig(
        dataset=dataset,
        out=folder / f"{dataset}-{scale}-x{strength:g}-seed{seed}",
        shots=SHOTS,
        seed=seed,
        per_image=PER_IMAGE,
        ip_adapter_scale=scale,
        method_option={"max_scale": 2.0} if scale.replace(".", "").isdigit() else {},
        batch_size=32,
        device="cpu",
    )


def fixed_scale(scale: float, strength: float) -> str:
    """The shipped adapter's scale that equals this one of another strength."""
    return f"{scale * strength:g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dataset", default="doodles")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    asked = parser.parse_args()
    first = config_of(asked.folder, asked.dataset, asked.seeds[0], "0")
    generator = load_generator(first, preset_of(first))
    for seed in asked.seeds:
        for strength in STRENGTHS:
            for scale in GRID:
                fixed = fixed_scale(scale, strength)
                augment(config_of(asked.folder, asked.dataset, seed, fixed), generator)
            config = config_of(asked.folder, asked.dataset, seed, "adaptive", strength)
            augment(config, Strengthened(generator, strength))


if __name__ == "__main__":
    main()
