"""A torch module of the user's own as a backbone."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone, fingerprint_of, frozen, pooled, sides
from dalda.evaluation.backbones.table import HeadRecipe

SIZE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, which most image models were trained with."""


def module_backbone(
    module: nn.Module, *, device: str = "cpu", recipe: HeadRecipe | None = None
) -> Backbone:
    """A module that maps [n, 3, h, w] to [n, d] (or to maps [n, d, h, w], which are averaged).

    The module's attribute `preprocess` makes [3, h, w] of an RGB image; without one the image is fitted to
    `module.image_size` (or 224) pixels and normalized as ImageNet's. Weights and the classes' names are its
    fingerprint. Raises UserError for a module that gives no features.
    """
    own = getattr(module, "preprocess", None) or _standard(int(getattr(module, "image_size", SIZE)))

    def batch(images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([own(image) for image in images])

    frozen(module, device)
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    try:
        size, dimensions = sides(lambda pixels: pooled(module(pixels)), batch, device)
    except Exception as error:
        raise UserError(
            f"The module {name} gives no features for an image ({error}): "
            "it must map a float tensor [n, 3, h, w] to [n, d]."
        ) from error
    # A function's name, since its text may hold an address in memory that differs from run to run.
    prepared_by = getattr(own, "__qualname__", None) or str(own)
    fingerprint = fingerprint_of(module, name, str(module), prepared_by, size)
    return Backbone(name, module, batch, fingerprint, size, dimensions, recipe or HeadRecipe())


def _standard(size: int) -> Callable[[Image.Image], Tensor]:
    def preprocess(image: Image.Image) -> Tensor:
        fitted = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(fitted, np.float32)).permute(2, 0, 1) / 255
        mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
        return (pixels - mean) / deviation

    return preprocess
