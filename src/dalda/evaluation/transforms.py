"""What an image goes through before a classifier learns from it: flip, rotation, colours on demand."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps

from dalda.errors import UserError
from dalda.seeding import seed_of

ROTATION_DEGREES = 15.0
JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05}
OPERATIONS, MAGNITUDE = 2, 10
"""Of RandAugment (arXiv 1909.13719), of 30 magnitudes."""
AUGMENTS = ("standard", "jitter", "randaugment")


def check_augment(name: str) -> None:
    """Raises `UserError` for a name that is none."""
    if name not in AUGMENTS:
        raise UserError(f"There is no augmentation called {name!r}: use one of {', '.join(AUGMENTS)}.")


def recipe_of(transforms: str) -> str:
    """A folder's name for all that decides an augmented view, beside the image and the view's number."""
    told = {
        "standard": "",
        "jitter": "".join(f"-{name}{by:g}" for name, by in JITTER.items()),
        "randaugment": f"-{OPERATIONS}-{MAGNITUDE}",
    }
    return f"flip-rotate{ROTATION_DEGREES:g}-{transforms}{told[transforms]}"


def turned(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A flip with probability 0.5, then a rotation by up to 15 degrees, black outside (METHOD.md)."""
    if generator.random() < 0.5:
        image = ImageOps.mirror(image)
    angle = float(generator.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    return image.rotate(angle, resample=Image.Resampling.BILINEAR)


def recoloured(images: Sequence[Image.Image], transforms: str, *labels: str | int) -> list[Image.Image]:
    """RGB images of one size after `transforms`, by kornia, drawn from `labels`; `standard` leaves them.

    Jitter changes brightness, contrast and saturation by up to 30 % and hue by up to 5 % of the circle.
    """
    if transforms == "standard" or not images:
        return list(images)
    import kornia.augmentation as kornia
    from kornia.augmentation.auto import RandAugment

    pixels = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images]) / 255
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    # kornia draws from torch's own generator: seeded here, and given back as it was.
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(0, "colours", *labels))
        if transforms == "jitter":
            batch = kornia.ColorJitter(**JITTER)(batch)
        else:
            # One by one: kornia takes the same two operations for a whole batch.
            operations = RandAugment(n=OPERATIONS, m=MAGNITUDE)
            batch = torch.cat([operations(image[None]) for image in batch])
    seen = (batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(image) for image in seen]


def shrunk(image: Image.Image, size: int) -> Image.Image:
    """A large image with its shorter side at `size` pixels: nothing finer reaches the model."""
    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(size, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)
