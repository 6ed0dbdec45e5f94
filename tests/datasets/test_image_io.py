import io
import os
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from dalda.datasets import image_io
from dalda.datasets.image_io import _Budget, check_image, open_image, open_source, sha256_of
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
        (b"not an image at all\n", "not an image"),
        (encoded(image(64, 64), "JPEG")[:-400], "truncated"),
        (encoded(image(64, 64), "PNG")[:60], "broken image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
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
        with pytest.raises(UserError, match=r"cat\.png cannot be read"):
            read(path)


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


WHOLE = {form: encoded(image(24, 24), form) for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")}


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    message, mode = str(path), "RGB"
    try:
        mode = open_image(path).mode
    except UserError as error:
        message = str(error)
    assert str(path) in message
    assert mode == "RGB"


def png_with(kind: bytes, content: bytes) -> bytes:
    """The image with one more chunk behind its header."""
    data = encoded(image(24, 24), "PNG")
    check = struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + struct.pack(">I", len(content)) + kind + content + check + data[33:]


LONG = zlib.compress(b"a workflow " * 200_000)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"tEXt", b"workflow\0" + b"long " * 1_000_000),
        (b"zTXt", b"workflow\0\0" + LONG),
        (b"iTXt", b"workflow\0\1\0\0\0" + LONG),
        (b"iCCP", b"profile\0\0" + LONG),
        (b"zTXt", b"Raw profile type exif\0\0" + LONG),
        (b"zTXt", b"workflow\0\0no zlib data"),
    ],
)
def test_a_png_with_long_texts_is_read(tmp_path: Path, kind: bytes, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_with(kind, content))
    assert np.array_equal(np.asarray(open_image(path)), np.asarray(image(24, 24)))


def test_an_orientation_in_xmp_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    path.write_bytes(png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    assert np.array_equal(np.asarray(open_image(path)), np.rot90(np.asarray(image(24, 24)), -1))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("size", [(1200, 900), (900, 1200), (1000, 100), (130, 125)])
def test_a_large_image_is_decoded_small(tmp_path: Path, form: str, size: tuple[int, int]) -> None:
    path = tmp_path / "a"
    Image.linear_gradient("L").resize(size).convert("RGB").save(path, form, quality=95)
    full, small = open_image(path), open_image(path, shorter=60)
    assert full.size == size
    assert 60 <= min(small.size) < 120
    assert abs(small.size[0] / small.size[1] - size[0] / size[1]) < 0.1
    shrunk = full.resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(shrunk, float) - np.asarray(small, float)).mean() < 3
    assert max(open_image(path, longer=200).size) >= 200 or max(size) < 200


def test_a_small_image_is_not_changed_by_a_wanted_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image(40, 30).save(path)
    for wanted in (open_image(path, shorter=30), open_image(path, longer=64), open_source(path)):
        assert np.array_equal(np.asarray(wanted), np.asarray(image(40, 30)))


def test_an_image_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image().save(path)
    known = sha256_of(path)
    assert open_image(path, sha256=known).size == (6, 4)
    image(5, 5).save(path)
    with pytest.raises(UserError, match=r"a\.png has changed since this command began"):
        open_image(path, sha256=known)


def test_few_pixels_are_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four threads, but no more pixels together than the budget; a larger image is alone."""
    now, most, lock = 0, 0, threading.Lock()
    load = ImageFile.ImageFile.load

    def watched(self: ImageFile.ImageFile) -> object:
        nonlocal now, most
        with lock:
            now += self.width * self.height
            most = max(most, now)
        time.sleep(0.01)
        loaded = load(self)
        with lock:
            now -= self.width * self.height
        return loaded

    paths = [tmp_path / f"{number}.bmp" for number in range(12)]
    for number, path in enumerate(paths):
        image(40 if number else 90, 30).save(path)
    monkeypatch.setattr(image_io, "_decoding", _Budget(2500))
    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(open_image, paths))) == 12
    assert 1200 < most <= 2700


def test_too_little_memory_is_no_broken_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    image().save(path)

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", full)
    with pytest.raises(UserError, match=r"not enough memory to decode .*a\.png"):
        open_image(path)


def test_a_file_of_any_length_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(image_io.MAX_BYTES + 5)
    with pytest.raises(UserError, match="larger than 1024 MB"):
        open_image(path)
