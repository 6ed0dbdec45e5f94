"""The report: one page that stands alone. What is on it, as plain values; the words and the look are in
`templates`, every value is escaped there, and the page's own policy lets it load and run nothing."""

import base64
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from dalda.types import Interval

if TYPE_CHECKING:
    from jinja2 import Template

SIDE = 128
"""The longer side of a thumbnail, in pixels."""
TINY = 64
"""Images up to this size are kept as they are, and shown larger without smoothing."""


@dataclass(frozen=True)
class Thumbnail:
    """A small WebP image."""

    webp: bytes
    width: int
    height: int

    @property
    def address(self) -> str:
        return "data:image/webp;base64," + base64.b64encode(self.webp).decode()

    @property
    def tiny(self) -> bool:
        return max(self.width, self.height) <= TINY


@dataclass
class Budget:
    """Makes thumbnails until their bytes are used up."""

    bytes: int
    open_image: Callable[[Path], Image.Image]

    def take(self, paths: Sequence[Path]) -> list[Thumbnail] | None:
        """Thumbnails of all these images, or None where they do not all fit."""
        made, left = [], self.bytes
        for path in paths:
            made.append(thumbnail(self.open_image(path)))
            left -= len(made[-1].webp)
            if left < 0:
                return None
        self.bytes = left
        return made


def thumbnail(image: Image.Image) -> Thumbnail:
    """The image as WebP, at most `SIDE` pixels; a tiny one without loss."""
    small = image.convert("RGB")
    tiny = max(small.size) <= TINY
    if not tiny:
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, format="WEBP", lossless=tiny, quality=75, method=4)
    return Thumbnail(file.getvalue(), *small.size)


@dataclass(frozen=True)
class Shown:
    """One image on the page. The caption is its text alternative."""

    image: Thumbnail
    caption: str
    ip_adapter_scale: float | None = None
    """None for a real image."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A real image, None where its file is gone, and copies of it by rising lambda."""

    source: Shown | None
    copies: tuple[Shown, ...]
    excluded: int
    """Copies that are not shown."""


@dataclass(frozen=True)
class ClassRows:
    """A class's images: how many there are, and those that are shown."""

    label: str
    real: int
    synthetic: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Pair:
    """A synthetic image beside the real one that it is so near to."""

    real: Shown
    copy: Shown


@dataclass(frozen=True)
class SetPart:
    """All that is shown of one synthetic set."""

    name: str
    facts: Mapping[str, str]
    classes: tuple[ClassRows, ...]
    sampled: str
    """Which of the images are shown, where it is not all of them."""
    weights: str
    """Lambda against score, as SVG; empty where there are no scores."""
    weights_say: str
    typical: tuple[Shown, ...]
    doubtful: tuple[Shown, ...]
    doubtful_say: str
    near: tuple[Pair, ...]
    near_say: str
    dropped: Mapping[str, int]
    """Images that are not in the set, by reason."""
    captions: Mapping[str, str]
    unseen: str = ""
    """Why typical, doubtful and near images could not be told, if so."""


@dataclass(frozen=True)
class ArmLine:
    """An arm's accuracy and its gain over the real images alone, None for these themselves."""

    arm: str
    accuracy: Interval
    gain: Interval | None
    verdict: str
    """`gained`, `lost`, `no measurable difference`, `one seed gives no interval` or nothing."""
    real_images: int
    synthetic_images: int
    seeds: int


@dataclass(frozen=True)
class ArmTable:
    """The arms of one (data set, shots)."""

    title: str
    arms: tuple[ArmLine, ...]
    chart: str
    """SVG."""


@dataclass(frozen=True)
class ClassTable:
    """Accuracy per class with real images alone, and what each arm changes, for one (data set, shots)."""

    title: str
    arms: tuple[str, ...]
    rows: tuple[tuple[str, Interval, tuple[Interval | None, ...]], ...]
    charts: tuple[tuple[str, str], ...]
    """Arm and SVG."""


@dataclass(frozen=True)
class Page:
    """The whole page, in its order: the answer comes first."""

    title: str
    headline: str
    sentences: tuple[str, ...]
    arms: tuple[ArmTable, ...] = ()
    shots_charts: tuple[tuple[str, str], ...] = ()
    """Title, empty where there is one only, and SVG."""
    facts: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[ClassTable, ...] = ()
    sets: tuple[SetPart, ...] = ()
    other_sets: str = ""
    """Which further sets there are that the page does not show."""


def report_page(page: Page) -> str:
    """The page as HTML."""
    style = _text("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(page=page, style=style, style_sha256=digest)


def _text(name: str) -> str:
    return files("dalda.reporting").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
