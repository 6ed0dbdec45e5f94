"""Features of images under augmented views, computed once for all trials, seeds and arms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dalda.errors import UserError
from dalda.evaluation.backbones import Backbone
from dalda.evaluation.feature_cache import FolderTable, Matrix, MemoryTable, Rows
from dalda.evaluation.transforms import check_augment, recipe_of, recoloured, shrunk, turned
from dalda.progress import progress
from dalda.seeding import generator_of

CHUNK = 256


@dataclass(frozen=True)
class TrainingImage:
    """An image file and the hash of its bytes."""

    path: Path
    sha256: str


class FeatureStore:
    """The features of every image seen so far: one plain view, and `views` augmented ones.

    The augmentations of an image are drawn from its content, so they are the same in every trial. With
    a `folder` the features are kept there, by the backbone's weights and the views' recipe.
    """

    def __init__(
        self,
        backbone: Backbone,
        open_image: Callable[[Path], Image.Image],
        *,
        views: int = 8,
        transforms: str = "standard",
        folder: Path | None = None,
    ) -> None:
        if views < 1:
            raise UserError(f"views is {views}: an image needs at least one view.")
        check_augment(transforms)
        self.backbone = backbone
        self.open_image = open_image
        self.views = views
        self.transforms = transforms
        self._plain = _table(backbone, folder, "plain", 1)
        self._viewed = _table(backbone, folder, f"{recipe_of(transforms)}-{views}", views)

    def plain(self, images: Sequence[TrainingImage]) -> Matrix:
        """Features of the images as they are, [n, d]; what is missing is computed."""
        self._fill(images, self._plain, self._as_is)
        rows = self._plain.at([image.sha256 for image in images])
        return np.asarray(self._plain.matrix[rows])

    def viewed(self, images: Sequence[TrainingImage]) -> tuple[Matrix, Rows]:
        """Features of the images' augmented views; what is missing is computed.

        Returns a table [rows, views, d], memory-mapped where there is a folder, and the images' rows [n].
        """
        self._fill(images, self._viewed, self._augmented)
        rows = self._viewed.at([image.sha256 for image in images])
        return self._viewed.matrix.reshape(-1, self.views, self.backbone.dimensions), rows

    def release(self) -> None:
        """Lets go of mapped memory that can be read again."""
        self._viewed.release()

    def _as_is(self, image: TrainingImage) -> list[Image.Image]:
        return [self.open_image(image.path)]

    def _augmented(self, image: TrainingImage) -> list[Image.Image]:
        opened = shrunk(self.open_image(image.path).convert("RGB"), self.backbone.size)
        views = [turned(opened, generator_of(0, "view", image.sha256, view)) for view in range(self.views)]
        return recoloured(views, self.transforms, image.sha256)

    def _fill(
        self,
        images: Sequence[TrainingImage],
        table: MemoryTable,
        open_views: Callable[[TrainingImage], list[Image.Image]],
    ) -> None:
        missing = table.missing(image.sha256 for image in images)
        if not missing:
            return
        by_key = {image.sha256: image for image in images}
        step = max(1, CHUNK * self.backbone.dimensions // table.width)
        with progress("features", len(missing)) as bar:
            for start in range(0, len(missing), step):
                chunk = missing[start : start + step]
                opened = [image for key in chunk for image in open_views(by_key[key])]
                table.add(chunk, self.backbone.features(opened).numpy().reshape(len(chunk), -1))
                bar.advance(len(chunk))


def _table(backbone: Backbone, folder: Path | None, recipe: str, views: int) -> MemoryTable:
    width = views * backbone.dimensions
    return (
        MemoryTable(width) if folder is None else FolderTable(width, folder / backbone.fingerprint / recipe)
    )


def normalised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows at length one, [n, d]."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float64).tiny), np.float64)
