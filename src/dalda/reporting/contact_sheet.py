"""The contact sheet: source images beside their synthetic images, by rising IP-Adapter scale."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dalda.errors import UserError
from dalda.reporting.text import harmless

CELL = 160
"""Width and height that an image is fitted into, in pixels."""
GAP, MARGIN = 16, 24
TITLE, TEXT = 17, 13
LINE = 17
CAPTION_LINES = 6
INK, SOFT, FAINT, PAPER = "#1a1a1a", "#5f5f5f", "#dcdcdc", "#ffffff"
HEADING = "Each row: a source image, then its synthetic images by rising IP-Adapter scale"


@dataclass(frozen=True)
class SheetRow:
    """One source image and the images generated from it."""

    title: str
    """The class name, and what else to say of it."""
    source: Image.Image
    synthetic: Sequence[tuple[Image.Image, str, float]]
    """Image, caption, IP-Adapter scale."""
    labels: Sequence[str] = ()
    """What is written below each synthetic image in place of its scale; the order is then this."""


def drawn_sheet(rows: Sequence[SheetRow], *, heading: str = HEADING) -> Image.Image:
    """The rows in RGB, the images of each by rising IP-Adapter scale. Raises UserError for no rows.

    Small images are enlarged by whole factors without smoothing, large ones reduced.
    """
    if not rows:
        raise UserError("there is no image to show; generate some first")
    columns = 1 + max(len(row.synthetic) for row in rows)
    width = max(2 * MARGIN + columns * CELL + (columns - 1) * GAP, 480)
    head = wrapped(heading, _font(TEXT), width - 2 * MARGIN, 2)
    cells = [_cells(row) for row in rows]
    heights = [2 * GAP + TITLE + 22 + CELL + LINE * (1 + max(len(x[3]) for x in row)) for row in cells]
    sheet = Image.new("RGB", (width, 2 * MARGIN + LINE * len(head) + sum(heights)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (MARGIN, MARGIN), head, _font(TEXT), SOFT)
    top = MARGIN + LINE * len(head)
    for row, row_cells, height in zip(rows, cells, heights, strict=True):
        pen.line([(MARGIN, top + GAP // 2), (width - MARGIN - 1, top + GAP // 2)], fill=FAINT)
        title = wrapped(row.title, _font(TITLE, bold=True), width - 2 * MARGIN, 1)
        _write(pen, (MARGIN, top + GAP), title, _font(TITLE, bold=True), INK)
        for column, cell in enumerate(row_cells):
            _draw_cell(sheet, pen, (MARGIN + column * (CELL + GAP), top + GAP + TITLE + 10), cell)
        top += height
    return sheet


def png_of(sheet: Image.Image) -> bytes:
    """A PNG file's bytes, as small as it gets."""
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()


Cell = tuple[Image.Image, str, float | None, list[str]]
"""Image, label below it, IP-Adapter scale, lines of the caption."""


def _cells(row: SheetRow) -> list[Cell]:
    cells: list[Cell] = [(row.source, "source", None, [])]
    if row.labels:
        named = zip(row.synthetic, row.labels, strict=True)
        return cells + [(image, label, None, []) for (image, _, _), label in named]
    for image, caption, scale in sorted(row.synthetic, key=lambda cell: cell[2]):
        cells.append(
            (image, f"scale {scale:.2f}", scale, wrapped(caption, _font(TEXT), CELL, CAPTION_LINES))
        )
    return cells


def _draw_cell(sheet: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], cell: Cell) -> None:
    (left, top), (image, label, scale, caption) = corner, cell
    small = fitted(image)
    sheet.paste(small, (left + (CELL - small.width) // 2, top + (CELL - small.height) // 2))
    if scale is not None:  # as a bar: the full width of a cell is 1
        bar = top + CELL + 4
        pen.rectangle((left, bar, left + CELL - 1, bar + 3), fill=FAINT)
        if scale > 0:
            pen.rectangle((left, bar, left + round(min(scale, 1) * (CELL - 1)), bar + 3), fill=INK)
    _write(pen, (left, top + CELL + 12), [label], _font(TEXT, bold=True), INK)
    _write(pen, (left, top + CELL + 12 + LINE), caption, _font(TEXT), SOFT)


def fitted(image: Image.Image) -> Image.Image:
    """The image in RGB, at most CELL x CELL: enlarged by a whole factor, unsmoothed, or reduced."""
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, PAPER)
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    flat, longest = image.convert("RGB"), max(image.size)
    if longest > CELL:
        width, height = (max(1, round(side * CELL / longest)) for side in flat.size)
        return flat.resize((width, height), Image.Resampling.LANCZOS)
    factor = CELL // longest
    return flat.resize((flat.width * factor, flat.height * factor), Image.Resampling.NEAREST)


def _write(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    lines: list[str],
    font: ImageFont.FreeTypeFont,
    fill: str,
) -> None:
    for number, line in enumerate(lines):
        pen.text((corner[0], corner[1] + number * LINE), line, font=font, fill=fill)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """The text in at most `most` lines, each within `width` pixels; what is cut ends in an ellipsis."""
    words = harmless(text).split()
    lines: list[str] = []
    while words and len(lines) <= most:
        word = words.pop(0)
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        widths = (font.getlength(word[:count]) for count in range(1, len(word) + 1))
        fits = max(1, sum(1 for _ in takewhile(lambda reached: reached <= width, widths)))
        lines.append(word[:fits])
        if fits < len(word):
            words.insert(0, word[fits:])
    if len(lines) > most:
        last = lines[most - 1] + "…"
        while len(last) > 1 and font.getlength(last) > width:
            last = last[:-2] + "…"
        lines = [*lines[: most - 1], last]
    return lines


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = Path(matplotlib.get_data_path()) / "fonts/ttf" / name
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
