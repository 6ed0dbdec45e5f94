"""The same image in two places is reported, copies made smaller or compressed again included."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from dalda.datasets.image_io import SIGNATURE_SIDE, check_image
from dalda.datasets.leakage import leaks, validation_copies
from dalda.types import RealImage


def photo(seed: int, side: int = 96) -> Image.Image:
    """A blurred random scene."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def put(folder: Path, name: str, image: Image.Image, **options: Any) -> tuple[RealImage, bytes]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return RealImage(path, path.parent.name, sha256), check_image(path)


Change = Callable[[Image.Image], Image.Image]
COPIES: dict[str, tuple[Change, str, dict[str, int]]] = {
    "the same": (lambda image: image, "copy.png", {}),
    "smaller": (lambda image: image.resize((61, 61)), "copy.png", {}),
    "larger": (lambda image: image.resize((300, 300)), "copy.png", {}),
    "compressed": (lambda image: image, "copy.jpg", {"quality": 60}),
    "brighter": (lambda image: image.point(lambda value: min(255, value * 0.9 + 10)), "copy.png", {}),
}
OTHERS: dict[str, Change] = {
    "another": lambda image: photo(99),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "half another": lambda image: Image.composite(
        image, photo(98), Image.linear_gradient("L").resize(image.size)
    ),
    "blurred beyond use": lambda image: image.filter(ImageFilter.GaussianBlur(30)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_in_train_and_validation_is_reported(tmp_path: Path, kind: str) -> None:
    change, name, options = COPIES[kind]
    train = [put(tmp_path / "train/dog", f"{number}.png", photo(number)) for number in range(4)]
    val = [put(tmp_path / "val/dog", f"{number}.png", photo(10 + number)) for number in range(4)]
    assert leaks(train, val) == []
    copy = put(tmp_path / "val/dog", name, change(photo(2)), **options)
    (sentence,) = leaks(train, [*val, copy])
    assert sentence.startswith("1 of 5 validation images are also in train")
    assert f"as {train[2][0].path} and {copy[0].path}" in sentence


@pytest.mark.parametrize("kind", OTHERS)
def test_other_images_are_no_copies(tmp_path: Path, kind: str) -> None:
    train = [put(tmp_path / "train/dog", "0.png", photo(2))]
    assert leaks(train, [put(tmp_path / "val/dog", "0.png", OTHERS[kind](photo(2)))]) == []


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_in_two_classes_is_reported(tmp_path: Path, kind: str) -> None:
    change, name, options = COPIES[kind]
    train = [put(tmp_path / "dog", f"{number}.png", photo(number)) for number in range(3)]
    train += [put(tmp_path / "cat", f"{number}.png", photo(20 + number)) for number in range(3)]
    assert leaks(train) == []
    copy = put(tmp_path / "cat", name, change(photo(1)), **options)
    (sentence,) = leaks([*train, copy])
    assert sentence.startswith("1 images are in two classes")
    assert copy[0].path.as_posix() in sentence
    assert train[1][0].path.as_posix() in sentence


@pytest.mark.parametrize("kind", COPIES)
def test_a_synthetic_copy_of_a_validation_image_is_reported(tmp_path: Path, kind: str) -> None:
    change, name, options = COPIES[kind]
    val = [put(tmp_path / "val/dog", f"{number}.png", photo(number)) for number in range(4)]
    synthetic = [put(tmp_path / "made/dog", f"{number}.png", photo(20 + number)) for number in range(4)]

    def sentence() -> str:
        return validation_copies(synthetic, val)

    assert sentence() == ""
    synthetic.append(put(tmp_path / "made/dog", name, change(photo(3)), **options))
    assert sentence().startswith("1 of 5 synthetic images are nearly the same as a validation image")
    assert f"as {synthetic[4][0].path} and {val[3][0].path}" in sentence()


def test_images_that_show_nothing_are_compared_by_content_only(tmp_path: Path) -> None:
    white = [put(tmp_path / "dog", "0.png", Image.new("RGB", (40, 40), (250, 250, 250)))]
    whiter = put(tmp_path / "cat", "0.png", Image.new("RGB", (40, 40), (251, 250, 250)))
    assert leaks([*white, whiter]) == []
    same = put(tmp_path / "cat", "1.png", Image.new("RGB", (40, 40), (250, 250, 250)))
    assert len(leaks([*white, whiter, same])) == 1


def test_unread_images_are_not_one_image(tmp_path: Path) -> None:
    unread = [
        (RealImage(Path(name), name, ""), photo(number).resize((16, 16)).tobytes())
        for number, name in enumerate("ab")
    ]
    assert leaks(unread) == []


def test_thousands_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    size = 3 * SIGNATURE_SIDE**2
    signatures = [rng.integers(0, 256, size, np.uint8).tobytes() for _ in range(6000)]
    images = [RealImage(Path(str(number)), "dog", str(number)) for number in range(6000)]
    started = time.process_time()
    signed = list(zip(images, [*signatures[:5999], signatures[7]], strict=True))
    found = leaks(signed[:1000], signed[1000:])
    assert time.process_time() - started < 5
    assert len(found) == 1
    assert "as 7 and 5999" in found[0]


@pytest.mark.parametrize("identical", [True, False])
def test_many_copies_of_one_image_are_counted_in_time(tmp_path: Path, identical: bool) -> None:
    """As frames of a film: each in train is near each in validation."""
    _, signature = put(tmp_path / "dog", "0.png", photo(1))

    def copies(part: str) -> list[tuple[RealImage, bytes]]:
        return [
            (
                RealImage(
                    Path(part, f"{n}.png"), "dog" if n % 2 else "cat", "a" if identical else f"{part}{n}"
                ),
                signature,
            )
            for n in range(2000)
        ]

    started = time.monotonic()
    across, mixed = leaks(copies("train"), copies("val"))
    assert time.monotonic() - started < 20
    assert across.startswith("2000 of 2000 validation images are also in train")
    assert mixed.startswith("1000 images are in two classes")
