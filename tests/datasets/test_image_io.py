import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dalda.datasets.image_io import check_image, open_image, sha256_of
from dalda.errors import UserError


def image(width: int = 6, height: int = 4) -> Image.Image:
    values = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.fromarray(values * 3)


def encoded(image: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_as_they_are(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.bin"
    image().save(path, form)
    assert np.array_equal(np.asarray(open_image(path)), np.asarray(image()))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "GIF", "MPO"])
def test_lossy_formats_open_as_rgb(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.jpg"
    image().save(path, form)
    assert (open_image(path).mode, open_image(path).size) == ("RGB", (6, 4))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.new("RGB", (5, 3), "white").convert(mode).save(path)
    image = open_image(path)
    assert image.mode == "RGB"
    assert np.asarray(image).min() >= 250


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (5, 3), (0, 0, 0, 0)).convert(mode).save(path)
    assert open_image(path).getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_red_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (5, 3), (255, 0, 0, 51)).save(path)
    assert open_image(path).getpixel((0, 0)) == (255, 204, 204)


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("P", (5, 3), 0).save(path, transparency=0)
    assert open_image(path).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(path)
    assert np.asarray(open_image(path))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_count_to_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0.0, 0.2, 1.0, np.nan]], dtype=np.float32)).save(path)
    assert np.asarray(open_image(path))[0, :, 2].tolist() == [0, 51, 255, 0]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image(6, 4).save(path, exif=exif)
    expected = np.rot90(np.asarray(image(6, 4)), -1)
    assert np.array_equal(np.asarray(open_image(path)), expected)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first.save(path, save_all=True, append_images=[second])
    assert open_image(path).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"not a image at all\n", "not a image"),
        (encoded(image(64, 64), "JPEG")[:-400], "truncated"),
        (encoded(image(64, 64), "PNG")[:60], "broken image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a image"),
    ],
)
def test_what_is_no_whole_image_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cat\.jpg.*" + reason + ".*(replace it|take it out)"):
        check_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("sides", [(60_000, 60_000), (20_000, 15_000)])
def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path, sides: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *sides, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", 0))
    with pytest.raises(UserError, match=r"bomb\.png is larger than 200 million pixels"):
        open_image(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            open_image(path)
        with pytest.raises(UserError, match="cannot be read"):
            sha256_of(path)


@pytest.mark.parametrize("place", ["pipe", "/dev/zero"])
def test_what_never_ends_is_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "cat.png"
    if place == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(place)
    for read in (open_image, sha256_of):
        with pytest.raises(UserError, match=r"cat\.png is not a file that can be read to its end"):
            read(path)


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


WHOLE = {form: encoded(image(24, 24), form) for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")}


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(sorted(WHOLE)),
    at=st.integers(0, 5000),
    noise=st.binary(min_size=1, max_size=6),
    keep=st.integers(1, 5000),
)
def test_broken_bytes_give_a_image_or_one_sentence(
    tmp_path: Path, form: str, at: int, noise: bytes, keep: int
) -> None:
    data = bytearray(WHOLE[form])
    place = at % len(data)
    data[place : place + len(noise)] = noise
    path = tmp_path / "fuzz"
    path.write_bytes(bytes(data[: max(1, keep)]))
    said, mode = str(path), "RGB"
    try:
        mode = open_image(path).mode
    except UserError as error:
        said = str(error)
    assert str(path) in said
    assert mode == "RGB"
