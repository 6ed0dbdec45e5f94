"""OUT/preview.jpg: a contact sheet of a synthetic set, redrawn while images are generated."""

import io
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from PIL import Image

from dalda.datasets.image_io import open_image
from dalda.errors import UserError, first_line
from dalda.generation.records import image_of
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import say
from dalda.reporting.contact_sheet import CELL, SheetRow, drawn_sheet
from dalda.storage import read_bytes, write
from dalda.types import SyntheticImage

PREVIEW = "preview.jpg"
ROWS, COLUMNS = 8, 6
"""Source images, and synthetic ones of each."""
QUALITY = 85
MOST_RECORDS = 5000
"""Of which the last sheet chooses: the first of the plan."""


@dataclass
class Preview:
    """Draws the newest images after every `every` of them; an error in it stops no generation."""

    dataset: SyntheticDataset
    every: int
    _newest: deque[SyntheticImage] = field(default_factory=lambda: deque(maxlen=ROWS * COLUMNS))
    _waiting: int = 0

    def add(self, images: Sequence[SyntheticImage]) -> None:
        """Takes images that are on disk."""
        self._newest.extend(images)
        self._waiting += len(images)
        if self._waiting >= self.every:
            self._waiting = 0
            draw(self.dataset, self._newest)

    def finish(self) -> None:
        """Draws the first images of the first classes: the same sheet for the same set."""
        records = islice(self.dataset.lines(), MOST_RECORDS)
        draw(self.dataset, (image_of(self.dataset.path_of(line), line) for line in records))


def draw(dataset: SyntheticDataset, images: Iterable[SyntheticImage]) -> None:
    """Writes the sheet of some of the images; says so where it cannot, for no image depends on it."""
    try:
        _write(dataset, images)
    except (UserError, OSError) as error:
        say(f"note: {dataset.folder / PREVIEW} was not drawn ({first_line(error)})")


def _write(dataset: SyntheticDataset, images: Iterable[SyntheticImage]) -> None:
    """One source of every class comes before the second of any."""
    sources: dict[tuple[str, str], list[SyntheticImage]] = {}
    for image in images:
        sources.setdefault((image.label, image.source_sha256), []).append(image)
    of_class: dict[str, int] = {}
    order = []
    for key in sources:
        of_class[key[0]] = of_class.get(key[0], -1) + 1
        order.append((of_class[key[0]], key))
    rows = [_row(sources[key]) for _, key in sorted(order, key=lambda pair: pair[0])[:ROWS]]
    if not rows:
        return
    file = io.BytesIO()
    drawn_sheet(rows).save(file, "JPEG", quality=QUALITY)
    path = dataset.folder / PREVIEW
    if not path.is_file() or path.is_symlink() or read_bytes(path) != file.getvalue():
        write(path, file.getvalue(), sync=False, root=dataset.folder)


def _row(images: Sequence[SyntheticImage]) -> SheetRow:
    shown = [(open_image(x.path), x.prompt, x.ip_adapter_scale) for x in images[:COLUMNS]]
    try:
        source = open_image(images[0].source)
    except UserError:  # it may have been moved since
        source = Image.new("RGB", (CELL, CELL), "#dcdcdc")
    return SheetRow(images[0].label, source, shown)
