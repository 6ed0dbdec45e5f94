"""Real and synthetic images for a training loop of the user's own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dalda.datasets.image_io import open_image
from dalda.evaluation.torch_dataset import MixedImageDataset
from dalda.storage import path_of
from dalda.types import FewShotSplit, SyntheticImage
from dalda.workflows.synthetic_sets import synthetic_set


class MixedDataset(MixedImageDataset):
    """A `torch.utils.data.Dataset`: item i is real image i, or with the probability one of its copies.

    `real` is what `dalda.sample_few_shot` gives; `synthetic` is a folder of `dalda augment` (without what
    was rejected in a review) or the synthetic images themselves. An item is
    (`transform(image)`, class number), the image being upright RGB.
    Raises UserError for a folder that does not belong to these real images.
    """

    def __init__(
        self,
        real: FewShotSplit,
        synthetic: str | Path | Sequence[SyntheticImage],
        synthetic_probability: float = 0.5,
        seed: int = 0,
        *,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        images = (
            synthetic_set(path_of(synthetic)).images if isinstance(synthetic, str | Path) else synthetic
        )
        super().__init__(
            real, images, synthetic_probability, seed, open_image=open_image, transform=transform
        )
