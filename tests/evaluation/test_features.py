from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalda.errors import UserError
from dalda.evaluation.backbones import Backbone
from dalda.evaluation.feature_cache import Matrix
from dalda.evaluation.features import FeatureStore, TrainingImage
from dalda.evaluation.transforms import AUGMENTS
from dalda.types import FewShotSplit

Opener = Callable[[Path], Image.Image]


def test_every_image_is_opened_once(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., FewShotSplit]
) -> None:
    opened: list[Path] = []

    def counting(path: Path) -> Image.Image:
        opened.append(path)
        return open_image(path)

    images = [TrainingImage(one.path, one.sha256) for one in make_split("train", 2).images]
    store = FeatureStore(backbone, counting, views=3)
    table, rows = store.viewed(images)
    again, more = store.viewed([*images, images[0]])
    assert len(opened) == len(images)
    assert table.shape == (6, 3, 24)
    np.testing.assert_array_equal(again[more[:6]], table[rows])
    assert more[6] == rows[0]


def test_plain_features_are_of_the_image_as_it_is(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., FewShotSplit]
) -> None:
    images = [TrainingImage(one.path, one.sha256) for one in make_split("train", 2).images]
    wanted = backbone.features([open_image(image.path) for image in images])
    found = torch.from_numpy(FeatureStore(backbone, open_image).plain(images))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("transforms", AUGMENTS)
def test_views_depend_on_the_content_alone(
    transforms: str, backbone: Backbone, open_image: Opener, make_split: Callable[..., FewShotSplit]
) -> None:
    images = [TrainingImage(one.path, one.sha256) for one in make_split("train", 2).images]
    together = FeatureStore(backbone, open_image, views=2, transforms=transforms).viewed(images)[0]
    alone = FeatureStore(backbone, open_image, views=2, transforms=transforms).viewed(images[3:4])[0]
    np.testing.assert_allclose(alone[0], together[3], rtol=1e-5, atol=1e-6)
    assert np.abs(together[0, 0] - together[0, 1]).max() > 1e-4


def test_no_images(backbone: Backbone, open_image: Opener) -> None:
    assert FeatureStore(backbone, open_image, views=2).viewed([])[0].shape == (0, 2, 24)


def test_a_folder_keeps_features_for_the_next_run(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., FewShotSplit], tmp_path: Path
) -> None:
    images = [TrainingImage(one.path, one.sha256) for one in make_split("train", 2).images]
    table, rows = FeatureStore(backbone, open_image, views=2, folder=tmp_path).viewed(images[:4])

    def refusing(path: Path) -> Image.Image:
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
    backbone: Backbone,
    open_image: Opener,
    make_split: Callable[..., FewShotSplit],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [TrainingImage(one.path, one.sha256) for one in make_split("train", 1).images]

    def views() -> Matrix:
        store = FeatureStore(backbone, open_image, views=2, transforms=transforms, folder=tmp_path)
        return store.viewed(images)[0].copy()

    before = views()
    np.testing.assert_array_equal(views(), before)
    monkeypatch.setattr(f"dalda.evaluation.transforms.{name}", value)
    assert np.abs(views() - before).max() > 1e-5


def test_views_that_cannot_be(backbone: Backbone, open_image: Opener) -> None:
    with pytest.raises(UserError, match="at least one view"):
        FeatureStore(backbone, open_image, views=0)
    with pytest.raises(UserError, match="use one of standard"):
        FeatureStore(backbone, open_image, transforms="wild")
