"""The image sheet: source images beside their copies, by rising weight of the image prompt."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dalda.errors import UserError
from dalda.storage import write_new

Copy = tuple[Image.Image, str, float]
"""A synthetic image, its caption, its lambda."""

CELL = 160
"""Width and height that an image is fitted into, in pixels."""
GAP, MARGIN = 16, 24
TITLE, TEXT = 17, 13
LINE = 17
CAPTION_LINES = 6
INK, SOFT, FAINT, PAPER = "#1a1a1a", "#5f5f5f", "#dcdcdc", "#ffffff"
HEADING = "Each row: a source image, then its copies by rising λ, the weight of the image prompt"


@dataclass(frozen=True)
class SheetRow:
    """One source image and what was made from it."""

    title: str
    """The class name, and whatever else the reader should know of it."""
    source: Image.Image
    copies: Sequence[Copy]


def image_sheet(rows: Sequence[SheetRow], path: Path, *, heading: str = HEADING) -> Path:
    """Draws the rows into one PNG; copies are put in order of lambda.

    Small images are enlarged by whole factors without smoothing, large ones reduced. Raises UserError
    for no rows, for another suffix than .png, and when a different file is there already.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"the image sheet '{path}' must end in .png")
    if not rows:
        raise UserError("there is no image to show; render some first")
    columns = 1 + max(len(row.copies) for row in rows)
    width = max(2 * MARGIN + columns * CELL + (columns - 1) * GAP, 480)
    head = _wrapped(heading, _font(TEXT), width - 2 * MARGIN, 2)
    heights = [_height(row) for row in rows]
    sheet = Image.new("RGB", (width, 2 * MARGIN + LINE * len(head) + sum(heights)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (MARGIN, MARGIN), head, _font(TEXT), SOFT)
    top = MARGIN + LINE * len(head)
    for row, height in zip(rows, heights, strict=True):
        _draw_row(sheet, pen, row, top)
        top += height
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    write_new(path, file.getvalue())
    return path


def fitted(image: Image.Image, cell: int = CELL) -> Image.Image:
    """The image in RGB, at most cell x cell: enlarged by a whole factor, unsmoothed, or reduced."""
    flat = _flat(image)
    longest = max(flat.size)
    if longest > cell:
        width, height = (max(1, round(side * cell / longest)) for side in flat.size)
        return flat.resize((width, height), Image.Resampling.LANCZOS)
    factor = cell // longest
    return flat.resize((flat.width * factor, flat.height * factor), Image.Resampling.NEAREST)


def _flat(image: Image.Image) -> Image.Image:
    """RGB, with whatever is transparent on paper."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    paper = Image.new("RGBA", clear.size, PAPER)
    return Image.alpha_composite(paper, clear).convert("RGB")


def _captions(row: SheetRow) -> list[list[str]]:
    return [_wrapped(caption, _font(TEXT), CELL, CAPTION_LINES) for _, caption, _ in _by_weight(row)]


def _by_weight(row: SheetRow) -> list[Copy]:
    return sorted(row.copies, key=lambda copy: copy[2])


def _height(row: SheetRow) -> int:
    longest = max((len(lines) for lines in _captions(row)), default=0)
    return GAP + (TITLE + 10) + CELL + 12 + LINE + longest * LINE + GAP


def _draw_row(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: SheetRow, top: int) -> None:
    pen.line([(MARGIN, top + GAP // 2), (sheet.width - MARGIN - 1, top + GAP // 2)], fill=FAINT)
    title = _wrapped(row.title, _font(TITLE, bold=True), sheet.width - 2 * MARGIN, 1)
    _write(pen, (MARGIN, top + GAP), title, _font(TITLE, bold=True), INK)
    top += GAP + TITLE + 10
    under = top + CELL + 12
    _paste(sheet, row.source, MARGIN, top)
    _write(pen, (MARGIN, under), ["source"], _font(TEXT, bold=True), INK)
    for place, ((image, _, weight), lines) in enumerate(
        zip(_by_weight(row), _captions(row), strict=True), 1
    ):
        left = MARGIN + place * (CELL + GAP)
        _paste(sheet, image, left, top)
        _draw_weight(pen, left, top + CELL + 4, weight)
        _write(pen, (left, under), [f"λ {weight:.2f}"], _font(TEXT, bold=True), INK)
        _write(pen, (left, under + LINE), lines, _font(TEXT), SOFT)


def _paste(sheet: Image.Image, image: Image.Image, left: int, top: int) -> None:
    small = fitted(image)
    sheet.paste(small, (left + (CELL - small.width) // 2, top + (CELL - small.height) // 2))


def _draw_weight(pen: ImageDraw.ImageDraw, left: int, top: int, weight: float) -> None:
    """Lambda as a bar: a full cell's width is 1."""
    pen.rectangle((left, top, left + CELL - 1, top + 3), fill=FAINT)
    if weight > 0:
        pen.rectangle((left, top, left + round(min(weight, 1) * (CELL - 1)), top + 3), fill=INK)


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    lines: list[str],
    font: ImageFont.FreeTypeFont,
    fill: str,
) -> None:
    for number, line in enumerate(lines):
        pen.text((place[0], place[1] + number * LINE), line, font=font, fill=fill)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """The text in at most `most` lines, each within `width` pixels; what is cut ends in an ellipsis."""
    # Names and captions come from strangers: half a surrogate pair or a control character may be in them.
    clean = text.encode("utf-8", "replace").decode("utf-8")
    words = "".join(sign if sign.isprintable() else " " for sign in clean).split()
    lines: list[str] = []
    while words and len(lines) <= most:
        word = words.pop(0)
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        fits = _fitting(word, font, width)
        lines.append(word[:fits])
        if fits < len(word):
            words.insert(0, word[fits:])
    if len(lines) > most:
        lines = lines[:most]
        last = lines[-1] + "…"
        while len(last) > 1 and font.getlength(last) > width:
            last = last[:-2] + "…"
        lines[-1] = last
    return lines


def _fitting(word: str, font: ImageFont.FreeTypeFont, width: int) -> int:
    """How many of the word's signs fit into a line, at least one."""
    widths = (font.getlength(word[:count]) for count in range(1, len(word) + 1))
    return max(1, sum(1 for _ in takewhile(lambda reached: reached <= width, widths)))


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return ImageFont.truetype(str(folder / name), size, layout_engine=ImageFont.Layout.BASIC)
