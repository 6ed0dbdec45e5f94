"""Image transforms of classifier training: flip, rotation, colours; MixUp and CutMix on batches."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dalda.errors import UserError
from dalda.seeding import generator_of, seed_of

ROTATION_DEGREES = 15.0
JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05}
OPERATIONS, MAGNITUDE = 2, 10
"""Of RandAugment (arXiv 1909.13719), of 30 magnitudes."""
TRANSFORMS = ("standard", "jitter", "randaugment", "trivialaugment")
MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}
"""Of the Beta distribution of shares, as in arXiv 1710.09412 (ImageNet) and arXiv 1905.04899."""

Mixed = tuple[Tensor, list[int], float]


def check_transforms(name: str) -> None:
    """Raises `UserError` for an unknown name."""
    if name not in TRANSFORMS:
        raise UserError(f"There are no transforms called {name!r}: use one of {', '.join(TRANSFORMS)}.")


def recipe_of(transforms: str) -> str:
    """A file name for all that decides an augmented view, beside the image and the view's number."""
    settings = {
        "jitter": "".join(f"-{name}{amount:g}" for name, amount in JITTER.items()),
        "randaugment": f"-{OPERATIONS}-{MAGNITUDE}",
    }
    return f"flip-rotate{ROTATION_DEGREES:g}-{transforms}{settings.get(transforms, '')}"


def augmented_views(
    image: Image.Image, size: int, views: int, transforms: str, sha256: str
) -> list[Image.Image]:
    """Augmented views of an image, drawn from its content hash; its shorter side is first cut to `size`."""
    small = shrink(image, size)
    turned = [flip_and_rotate(small, generator_of(0, "view", sha256, view)) for view in range(views)]
    return change_colours(turned, transforms, sha256)


def flip_and_rotate(
    image: Image.Image,
    generator: np.random.Generator,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """A flip with probability 0.5, then a rotation by up to 15 degrees, black outside."""
    if generator.random() < 0.5:
        image = ImageOps.mirror(image)
    angle = float(generator.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    return image.rotate(angle, resample=resample)


def change_colours(images: Sequence[Image.Image], transforms: str, *labels: str | int) -> list[Image.Image]:
    """RGB images of one size after `transforms`, by kornia, drawn from `labels`; `standard` leaves them.

    Jitter changes brightness, contrast and saturation by up to 30 % and hue by up to 5 % of the circle.
    """
    if transforms == "standard" or not images:
        return list(images)
    import kornia.augmentation as kornia
    from kornia.augmentation.auto import RandAugment, TrivialAugment

    pixels = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images]) / 255
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    # kornia draws from torch's own generator: seeded here, and given back as it was.
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(0, "colours", *labels))
        if transforms == "jitter":
            batch = kornia.ColorJitter(**JITTER)(batch)
        else:
            # One by one: kornia takes the same operations for a whole batch.
            operations = (
                RandAugment(n=OPERATIONS, m=MAGNITUDE) if transforms == "randaugment" else TrivialAugment()
            )
            batch = torch.cat([operations(image[None]) for image in batch])
    changed = (batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(image) for image in changed]


def shrink(image: Image.Image, size: int) -> Image.Image:
    """A large image with its shorter side at `size` pixels: nothing finer reaches the model."""
    shorter = min(image.size)
    if shorter <= size:
        return image
    width, height = (max(size, round(side * size / shorter)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def mixup(pixels: Tensor, generator: np.random.Generator) -> Mixed:
    """MixUp: pixels [n, 3, h, w] averaged with a partner's; also the partners, and the share kept."""
    share = float(generator.beta(MIX_ALPHA["mixup"], MIX_ALPHA["mixup"]))
    partner: list[int] = generator.permutation(len(pixels)).tolist()
    return share * pixels + (1 - share) * pixels[partner], partner, share


def cutmix(pixels: Tensor, generator: np.random.Generator) -> Mixed:
    """CutMix: a box of each image comes from a partner; also the partners, and the share of area kept."""
    share = float(generator.beta(MIX_ALPHA["cutmix"], MIX_ALPHA["cutmix"]))
    partner: list[int] = generator.permutation(len(pixels)).tolist()
    height, width = pixels.shape[2:]
    half = np.sqrt(1 - share) / 2
    y, x = generator.integers(height), generator.integers(width)
    top, bottom = max(0, round(y - half * height)), min(height, round(y + half * height))
    left, right = max(0, round(x - half * width)), min(width, round(x + half * width))
    mixed = pixels.clone()
    mixed[:, :, top:bottom, left:right] = pixels[partner][:, :, top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


BATCH_AUGMENTS: dict[str, Callable[[Tensor, np.random.Generator], Mixed]] = {
    "mixup": mixup,
    "cutmix": cutmix,
}


def mix_batch(pixels: Tensor, name: str, generator: np.random.Generator) -> Mixed:
    """A batch by `none`, `mixup` or `cutmix`. Raises `UserError` for another name."""
    if name == "none":
        return pixels, list(range(len(pixels))), 1.0
    if name not in BATCH_AUGMENTS:
        raise UserError(
            f"There is no batch augmentation called {name!r}: use none, {' or '.join(BATCH_AUGMENTS)}."
        )
    return BATCH_AUGMENTS[name](pixels, generator)
