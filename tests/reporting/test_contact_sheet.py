"""The image sheet: sizes, order, and strangers' text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dalda.errors import UserError
from dalda.reporting import contact_sheet as sheet
from dalda.reporting.contact_sheet import CELL, GAP, MARGIN, SheetRow, fitted

RED, GREEN, BLUE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, colour)


def row(title: str = "boat", caption: str = "a photo of a boat", images: int = 2) -> SheetRow:
    return SheetRow(title, plain(RED), [(plain(GREEN), caption, n / 10) for n in range(images)])


def drawn(rows: list[SheetRow]) -> NDArray[np.uint8]:
    return np.asarray(sheet.drawn_sheet(rows))


def test_images_stand_after_their_source_by_rising_scale() -> None:
    images = [(plain(BLUE), "far", 0.9), (plain(GREEN), "near", 0.1)]
    pixels = drawn([SheetRow("boat", plain(RED), images)])
    for place, colour in enumerate((RED, GREEN, BLUE)):
        left = MARGIN + place * (CELL + GAP)
        found = np.argwhere((pixels == colour).all(-1))
        assert found[:, 1].min() == left
        assert found[:, 1].max() == left + CELL - 1
        assert len(found) == CELL * CELL


def test_the_sheet_grows_with_rows_and_columns() -> None:
    one = drawn([row(images=4)]).shape
    two = drawn([row(images=4)] * 2).shape
    wide = drawn([row(images=6)]).shape
    assert two[1] == one[1]
    assert two[0] > one[0] + CELL
    assert wide[1] == one[1] + 2 * (CELL + GAP)


def test_text_is_there_and_stays_inside() -> None:
    long = "a photo of a boat on a very long river " * 10
    bare = drawn([row("", "")])
    full = drawn([row("boat, known " * 20, long)])
    assert (full < 200).all(-1).sum() > (bare < 200).all(-1).sum() + 1000
    assert (full[:, :MARGIN] == 255).all()
    assert (full[:, -MARGIN:] == 255).all()
    assert (full[-GAP:] == 255).all()


def test_captions_do_not_run_into_each_other() -> None:
    pixels = drawn([row(caption="W" * 400)])
    below = pixels[MARGIN + 60 + CELL :]
    for place in (1, 2):
        between = MARGIN + place * (CELL + GAP) - GAP
        assert (below[:, between + 1 : between + GAP] == 255).all()


def test_small_images_are_enlarged_without_smoothing() -> None:
    dots = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    large = fitted(dots)
    assert large.size == (CELL, CELL)
    assert (np.asarray(large)[::5, ::5] == np.asarray(dots)).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 320), (160, 80)), ((50, 100), (50, 100)), ((1, 1000), (1, 160)), ((1, 1), (160, 160))],
)
def test_images_keep_their_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(plain(RED, size)).size == expected


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_kind_of_image_can_be_shown(mode: str) -> None:
    assert fitted(Image.new(mode, (8, 8))).mode == "RGB"


def test_what_is_transparent_shows_the_paper() -> None:
    assert fitted(Image.new("RGBA", (8, 8), (255, 0, 0, 0))).getpixel((4, 4)) == (255, 255, 255)


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(1, 7), st.integers(20, 400))
@settings(max_examples=50, deadline=None)
def test_any_text_is_wrapped_into_its_room(text: str, most: int, width: int) -> None:
    font = sheet._font(13)
    lines = sheet.wrapped(text, font, width, most)
    assert len(lines) <= most
    assert all(font.getlength(line) <= width for line in lines)


@pytest.mark.parametrize(
    "text", ["狗狗", "\ud800", "a\x00b\nc\td", "‮rtl", "🐕" * 50, "<script>alert(1)</script>"]
)
def test_strangers_text_does_no_harm(text: str) -> None:
    assert sheet.png_of(sheet.drawn_sheet([row(text, text)]))


def test_a_caption_that_fits_is_whole() -> None:
    words = "a photo of a red boat"
    assert " ".join(sheet.wrapped(words, sheet._font(13), CELL, 6)) == words


def test_there_is_no_sheet_of_no_images() -> None:
    with pytest.raises(UserError, match="no image"):
        sheet.drawn_sheet([])
