"""Masks of real images: found by name, checked, grown as the method says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalda.datasets.image_io import sha256_of
from dalda.datasets.masks import edited_region, masks_of
from dalda.errors import UserError
from dalda.types import FewShotSplit, RealImage

SIZE = (40, 30)


@pytest.fixture
def split(tmp_path: Path) -> FewShotSplit:
    """Two images, one of them turned on its side by its EXIF, and a mask for each."""
    root = tmp_path / "photos"
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder in ("car", "tree"):
        (root / folder).mkdir(parents=True)
        (tmp_path / "masks" / folder).mkdir(parents=True)
    Image.effect_noise(SIZE, 90).convert("RGB").save(root / "car" / "a.jpg")
    Image.effect_noise(SIZE[::-1], 90).convert("RGB").save(root / "tree" / "b.v2.jpg", exif=exif)
    for name in ("car/a.png", "tree/b.v2.png"):
        mask = np.zeros(SIZE[::-1], np.uint8)
        mask[5:10, 5:20] = 1
        Image.fromarray(mask).save(tmp_path / "masks" / name)
    images = [RealImage(path, path.parent.name, sha256_of(path)) for path in sorted(root.glob("*/*"))]
    return FewShotSplit("photos", root, "train", 0, None, ("car", "tree"), tuple(images))


def test_masks_are_found_by_the_names_of_the_images(split: FewShotSplit, tmp_path: Path) -> None:
    found = masks_of(split, tmp_path / "masks", 1 / 32, inverted=False)
    names = ["car/a.png", "tree/b.v2.png"]
    assert [mask.path for mask in found.values()] == [tmp_path / "masks" / name for name in names]
    assert list(found) == [image.path for image in split.images]
    assert [mask.sha256 for mask in found.values()] == [sha256_of(mask.path) for mask in found.values()]


def test_a_mask_of_the_whole_image_is_reported(
    split: FewShotSplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a map of numbered regions, where the background is 2."""
    grey(tmp_path / "masks" / "car" / "a.png", 2)
    assert len(masks_of(split, tmp_path / "masks", 0.0, inverted=False)) == 2
    assert "note: 1 of 2 masks cover their whole image, as '" in capsys.readouterr().err


def grey(path: Path, shade: int, size: tuple[int, int] = SIZE) -> None:
    Image.new("L", size, shade).save(path)


def test_masks_that_cannot_be_used_are_one_sentence(split: FewShotSplit, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    mask = folder / "car" / "a.png"
    with pytest.raises(UserError, match=r"there is no folder of masks '.*nowhere'; name one with"):
        masks_of(split, tmp_path / "nowhere", 0.0, inverted=False)
    grey(mask, 0)
    with pytest.raises(UserError, match=r"the mask '.*car/a.png' is black everywhere; make the object"):
        masks_of(split, folder, 0.0, inverted=False)
    grey(mask, 255)
    with pytest.raises(UserError, match=r"the mask '.*car/a.png' leaves no background; make what"):
        masks_of(split, folder, 0.0, inverted=True)
    grey(mask, 255, (30, 40))
    with pytest.raises(
        UserError, match=r"a.png' is 30 x 40 pixels and its image 40 x 30; make them the same"
    ):
        masks_of(split, folder, 0.0, inverted=False)
    mask.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a.png is not an image in a known format"):
        masks_of(split, folder, 0.0, inverted=False)
    mask.unlink()
    with pytest.raises(UserError, match=r"the image .*a.jpg has no mask '.*car/a.png'; add a PNG of the"):
        masks_of(split, folder, 0.0, inverted=False)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("size", [16, 64, 512])
def test_the_region_is_the_object_grown_by_a_window(size: int, inverted: bool) -> None:
    """Against loops over its pixels; of an even window, the pixel is the first of the second half."""
    mask = np.zeros((60, 80), np.uint8)
    mask[20:30, 10:20] = 1
    mask[50, 70:] = 255
    window = max(1, round(size / 32))
    rows = ((np.arange(size) + 0.5) * 60 / size).astype(int)
    columns = ((np.arange(size) + 0.5) * 80 / size).astype(int)
    white = mask[rows][:, columns] > 0
    expected = np.zeros((size, size), bool)
    for y, x in zip(*np.nonzero(white), strict=True):
        # All pixels whose window holds this one.
        top, left = y - (window - 1 - window // 2), x - (window - 1 - window // 2)
        expected[max(0, top) : y + window // 2 + 1, max(0, left) : x + window // 2 + 1] = True
    found = edited_region(Image.fromarray(mask), size, 1 / 32, inverted)
    assert (np.asarray(found) == np.where(expected != inverted, 255, 0)).all()
