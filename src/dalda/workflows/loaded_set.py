"""A synthetic set in Python: a sequence of images with their metadata, and what other libraries take."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from PIL import Image

from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.types import SyntheticImage

if TYPE_CHECKING:
    import pandas
    from datasets import Dataset

PREVIEW = 24
"""Images that a notebook shows."""
PREVIEW_PIXELS = 96


class LoadedSet(Sequence[SyntheticImage]):
    """Synthetic images; each has a path, label, prompt, IP-Adapter scale, source and request id."""

    def __init__(self, images: Sequence[SyntheticImage]) -> None:
        self.images = tuple(images)

    @overload
    def __getitem__(self, index: int) -> SyntheticImage: ...
    @overload
    def __getitem__(self, index: slice) -> "LoadedSet": ...
    def __getitem__(self, index: int | slice) -> "SyntheticImage | LoadedSet":
        if isinstance(index, slice):
            return LoadedSet(self.images[index])
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"LoadedSet({len(self)} images of {len(self.classes)} classes)"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted({image.label for image in self.images}))

    def open(self, index: int) -> Image.Image:
        """An image's pixels, upright RGB. Raises UserError for a file that is no image."""
        return open_image(self.images[index].path)

    def to_pandas(self) -> "pandas.DataFrame":
        """A row per image. Raises UserError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise UserError("a table needs pandas: pip install pandas") from error
        return pandas.DataFrame([asdict(image) for image in self.images])

    def to_datasets(self) -> "Dataset":
        """A Hugging Face `Dataset` with an Image column, a ClassLabel, prompt and IP-Adapter scale.

        Raises UserError where `datasets` is not installed.
        """
        try:
            from datasets import ClassLabel, Dataset, Features, Value
            from datasets import Image as ImageColumn
        except ImportError as error:
            raise UserError("this needs the library datasets: pip install 'dalda[hf]'") from error
        columns: dict[str, list[Any]] = {
            "image": [str(image.path) for image in self.images],
            "label": [self.classes.index(image.label) for image in self.images],
            "prompt": [image.prompt for image in self.images],
            "ip_adapter_scale": [image.ip_adapter_scale for image in self.images],
        }
        features = Features(
            {
                "image": ImageColumn(),
                "label": ClassLabel(names=list(self.classes)),
                "prompt": Value("string"),
                "ip_adapter_scale": Value("float64"),
            }
        )
        return Dataset.from_dict(columns, features=features)

    def _repr_html_(self) -> str:
        """The first images with their labels and scales, for notebooks."""
        shown = "".join(map(_figure, self.images[:PREVIEW]))
        more = f"<p>and {len(self) - PREVIEW} more</p>" if len(self) > PREVIEW else ""
        return f"<p>{html.escape(repr(self))}</p><div>{shown}</div>{more}"


def _figure(image: SyntheticImage) -> str:
    small = open_image(image.path, shorter=PREVIEW_PIXELS)
    small.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
    stream = io.BytesIO()
    small.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    label = html.escape(f"{image.label}, scale {image.ip_adapter_scale:.2f}")
    prompt = html.escape(image.prompt, quote=True)
    return (
        f'<figure style="display:inline-block;margin:2px;font-size:small" title="{prompt}">'
        f'<img src="data:image/png;base64,{data}" alt="{label}"><figcaption>{label}</figcaption></figure>'
    )
