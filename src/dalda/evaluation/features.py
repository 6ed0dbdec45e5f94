"""Features of images, as they are and under augmented views, computed once for all trials and seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from dalda.cache import cache_folder
from dalda.datasets.image_io import open_image
from dalda.device import device_named, quiet_libraries
from dalda.errors import UserError
from dalda.evaluation.backbones.base import FeatureExtractor
from dalda.evaluation.feature_cache import FeatureTable, Matrix
from dalda.evaluation.transforms import augmented_views, check_transforms, recipe_of
from dalda.progress import progress

MAX_IMAGES, MAX_PIXELS = 256, 2**26
"""Views that are in memory at once, and their pixels (200 MB as RGB)."""
MARGIN = 2
"""How much larger than the model reads an image is decoded, so that resizing stays smooth."""


class OpenImage(Protocol):
    """Decodes a file whose bytes must have this hash; its shorter side may come as small as `shorter`."""

    def __call__(self, path: Path, *, sha256: str, shorter: int) -> Image.Image: ...


@dataclass(frozen=True)
class ImageFile:
    """An image file and the SHA-256 of its bytes."""

    path: Path
    sha256: str


class FeatureStore:
    """Features by the image's content: one plain row, and rows of `views` augmented views.

    The augmentations of an image are drawn from its content, so they are the same in every trial. With
    a `folder` the features are kept there, by the backbone's fingerprint and the views' recipe.
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        open_image: OpenImage,
        *,
        views: int = 8,
        transforms: str = "standard",
        folder: Path | None = None,
    ) -> None:
        if views < 1:
            raise UserError(f"views is {views}: an image needs at least one view.")
        check_transforms(transforms)
        self.backbone = backbone
        self.open_image = open_image
        self.views = views
        self.transforms = transforms
        self.folder = folder
        place = None if folder is None else folder / backbone.fingerprint
        width, recipe = backbone.dimensions, f"{recipe_of(transforms)}-{views}"
        self._plain = FeatureTable(width, place and place / "plain.sqlite")
        self._viewed = FeatureTable(views * width, place and place / f"{recipe}.sqlite")

    def plain(self, images: Sequence[ImageFile]) -> Matrix:
        """Features of the images as they are, [n, d]; what is missing is computed."""
        rows, places = self._rows(images, self._plain, lambda file: [self.open(file)])
        return np.asarray(rows[places])

    def viewed(self, images: Sequence[ImageFile]) -> tuple[Matrix, NDArray[np.int64]]:
        """Features of the images' augmented views; what is missing is computed.

        Returns a table [distinct images, views, d], memory-mapped where it is large, and each image's row
        in it [n].
        """
        rows, places = self._rows(images, self._viewed, self._views)
        return rows.reshape(-1, self.views, self.backbone.dimensions), places

    def with_transforms(self, transforms: str) -> "FeatureStore":
        """The same backbone under other transforms."""
        return FeatureStore(
            self.backbone, self.open_image, views=self.views, transforms=transforms, folder=self.folder
        )

    def open(self, file: ImageFile) -> Image.Image:
        """The decoded image, large ones reduced. Raises UserError where its bytes have changed."""
        shorter = MARGIN * self.backbone.size
        return self.open_image(file.path, sha256=file.sha256, shorter=shorter).convert("RGB")

    def _views(self, file: ImageFile) -> list[Image.Image]:
        opened = self.open(file)
        return augmented_views(opened, self.backbone.size, self.views, self.transforms, file.sha256)

    def _rows(
        self,
        images: Sequence[ImageFile],
        table: FeatureTable,
        open_views: Callable[[ImageFile], list[Image.Image]],
    ) -> tuple[Matrix, NDArray[np.int64]]:
        by_key = {file.sha256: file for file in images}
        missing = table.missing(by_key)
        if missing:
            with progress("features", len(missing)) as bar:
                for keys, opened in batches_of([by_key[key] for key in missing], open_views):
                    features = self.backbone.extract(opened).numpy()
                    if not np.isfinite(features).all():
                        raise UserError(
                            f"The backbone {self.backbone.name!r} gives features that are no numbers, of "
                            f"{by_key[keys[0]].path} or one after it: choose another."
                        )
                    table.add(keys, features.reshape(len(keys), table.width))
                    bar.advance(len(keys))
        places = {key: place for place, key in enumerate(by_key)}
        return table.rows(list(by_key)), np.array([places[file.sha256] for file in images], np.int64)


def batches_of(
    files: Sequence[ImageFile], open_views: Callable[[ImageFile], list[Image.Image]]
) -> Iterator[tuple[list[str], list[Image.Image]]]:
    """Keys and opened views, a few files at a time: large photographs would fill the memory."""
    keys: list[str] = []
    opened: list[Image.Image] = []
    pixels = 0
    for file in files:
        views = open_views(file)
        keys.append(file.sha256)
        opened += views
        pixels += sum(view.width * view.height for view in views)
        if len(opened) >= MAX_IMAGES or pixels >= MAX_PIXELS:
            yield keys, opened
            keys, opened, pixels = [], [], 0
    if keys:
        yield keys, opened


def normalized(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows at length one, [n, d]."""
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float64).tiny), np.float64)


def load_features(
    backbone: str | nn.Module | FeatureExtractor,
    device: str,
    *,
    views: int = 8,
    transforms: str = "standard",
) -> FeatureStore:
    """A loaded backbone with the features that it gave earlier, kept in the user's cache.

    Raises UserError for a backbone that cannot be loaded (`dalda.evaluation.backbones.load`).
    """
    quiet_libraries()
    from dalda.evaluation.backbones.load import load_backbone

    model = load_backbone(backbone, device_named(device))
    folder = cache_folder("features")
    return FeatureStore(model, open_image, views=views, transforms=transforms, folder=folder)
