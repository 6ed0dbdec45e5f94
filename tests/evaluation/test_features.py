from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.evaluation.backbones.clip import ClipBackbone
from dalda.evaluation.feature_cache import Matrix
from dalda.evaluation.features import FeatureStore, ImageFile, OpenImage, batches_of
from dalda.evaluation.transforms import TRANSFORMS
from dalda.types import FewShotSplit


def test_every_image_is_opened_once(
    backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit]
) -> None:
    opened: list[Path] = []

    def counting(path: Path, *, sha256: str, shorter: int) -> Image.Image:
        opened.append(path)
        return open_image(path, sha256=sha256, shorter=shorter)

    images = [ImageFile(one.path, one.sha256) for one in make_split("train", 2).images]
    store = FeatureStore(backbone, counting, views=3)
    table, rows = store.viewed(images)
    again, more = store.viewed([*images, images[0]])
    assert len(opened) == len(images)
    assert table.shape == (6, 3, 24)
    np.testing.assert_array_equal(again[more[:6]], table[rows])
    assert more[6] == rows[0]


def test_plain_features_are_of_the_image_as_it_is(
    backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit]
) -> None:
    images = [ImageFile(one.path, one.sha256) for one in make_split("train", 2).images]
    wanted = backbone.extract([open_image(image.path, sha256=image.sha256, shorter=0) for image in images])
    found = torch.from_numpy(FeatureStore(backbone, open_image).plain(images))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("transforms", TRANSFORMS)
def test_views_depend_on_the_content_alone(
    transforms: str, backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit]
) -> None:
    images = [ImageFile(one.path, one.sha256) for one in make_split("train", 2).images]
    together = FeatureStore(backbone, open_image, views=2, transforms=transforms).viewed(images)[0]
    alone = FeatureStore(backbone, open_image, views=2, transforms=transforms).viewed(images[3:4])[0]
    np.testing.assert_allclose(alone[0], together[3], rtol=1e-5, atol=1e-6)
    assert np.abs(together[0, 0] - together[0, 1]).max() > 1e-4


def test_features_that_are_no_numbers_are_refused_and_not_kept(
    backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit], tmp_path: Path
) -> None:
    class Broken(ClipBackbone):
        def embed(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().embed(pixels) * torch.nan

    images = [ImageFile(one.path, one.sha256) for one in make_split("train", 2).images]
    broken = Broken(**vars(backbone))
    with pytest.raises(UserError, match="features that are no numbers"):
        FeatureStore(broken, open_image, folder=tmp_path).plain(images)
    assert np.isfinite(FeatureStore(backbone, open_image, folder=tmp_path).plain(images)).all()


def test_no_images(backbone: ClipBackbone, open_image: OpenImage) -> None:
    assert FeatureStore(backbone, open_image, views=2).viewed([])[0].shape == (0, 2, 24)


def test_a_folder_keeps_features_for_the_next_run(
    backbone: ClipBackbone, open_image: OpenImage, make_split: Callable[..., FewShotSplit], tmp_path: Path
) -> None:
    images = [ImageFile(one.path, one.sha256) for one in make_split("train", 2).images]
    table, rows = FeatureStore(backbone, open_image, views=2, folder=tmp_path).viewed(images[:4])

    def refusing(path: Path, *, sha256: str, shorter: int) -> Image.Image:
        raise AssertionError(f"{path} was opened again")

    again, found = FeatureStore(backbone, refusing, views=2, folder=tmp_path).viewed(images[3::-1])
    np.testing.assert_array_equal(again[found[::-1]], table[rows])
    with pytest.raises(AssertionError):
        FeatureStore(backbone, refusing, views=2, folder=tmp_path).viewed(images)
    with pytest.raises(AssertionError):
        FeatureStore(backbone, refusing, views=3, folder=tmp_path).viewed(images[:4])


@pytest.mark.parametrize(
    ("transforms", "name", "value"),
    [
        ("standard", "ROTATION_DEGREES", 30.0),
        ("jitter", "JITTER", {"brightness": 0.5}),
        ("randaugment", "OPERATIONS", 3),
        ("randaugment", "MAGNITUDE", 5),
    ],
)
def test_views_of_another_recipe_are_not_taken_from_the_cache(
    transforms: str,
    name: str,
    value: object,
    backbone: ClipBackbone,
    open_image: OpenImage,
    make_split: Callable[..., FewShotSplit],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [ImageFile(one.path, one.sha256) for one in make_split("train", 1).images]

    def views() -> Matrix:
        store = FeatureStore(backbone, open_image, views=2, transforms=transforms, folder=tmp_path)
        return store.viewed(images)[0].copy()

    before = views()
    np.testing.assert_array_equal(views(), before)
    monkeypatch.setattr(f"dalda.evaluation.transforms.{name}", value)
    assert np.abs(views() - before).max() > 1e-5


def test_views_that_cannot_be(backbone: ClipBackbone, open_image: OpenImage) -> None:
    with pytest.raises(UserError, match="at least one view"):
        FeatureStore(backbone, open_image, views=0)
    with pytest.raises(UserError, match="use one of standard"):
        FeatureStore(backbone, open_image, transforms="wild")


def test_a_file_that_changed_after_it_was_hashed_never_stays_in_the_cache(
    backbone: ClipBackbone, make_split: Callable[..., FewShotSplit], tmp_path: Path
) -> None:
    image = make_split("train", 1).images[0]
    other = make_split("train", 1).images[1]
    path = tmp_path / "image.png"
    path.write_bytes(other.path.read_bytes())
    store = load_features_like_the_product(backbone, tmp_path / "cache")
    with pytest.raises(UserError, match="has changed since this command began"):
        store.plain([ImageFile(path, image.sha256)])
    path.write_bytes(image.path.read_bytes())
    found = store.plain([ImageFile(path, image.sha256)])
    np.testing.assert_array_equal(found, store.plain([ImageFile(image.path, image.sha256)]))


def load_features_like_the_product(backbone: ClipBackbone, folder: Path) -> FeatureStore:
    return FeatureStore(backbone, open_image, folder=folder)


def test_few_large_images_are_in_memory_at_a_time() -> None:
    """260 photographs of 12 megapixels would fill 9 GB."""
    alive: list[int] = []

    def opened(file: ImageFile) -> list[Image.Image]:
        alive.append(1)
        return [Image.new("1", (4000, 3000))]

    files = [ImageFile(Path(str(number)), str(number)) for number in range(260)]
    for keys, images in batches_of(files, opened):
        assert len(keys) == len(images) <= 6
    assert len(alive) == 260
