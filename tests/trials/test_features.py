from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalda.errors import UserError
from dalda.records import Split
from dalda.trials.backbones import Backbone
from dalda.trials.features import FeatureStore, Picture, augmented, shrunk

Opener = Callable[[Path], Image.Image]


def test_every_image_is_opened_once(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., Split]
) -> None:
    opened: list[Path] = []

    def counting(path: Path) -> Image.Image:
        opened.append(path)
        return open_image(path)

    pictures = [Picture(one.path, one.sha256) for one in make_split("train", 2).examples]
    store = FeatureStore(backbone, counting, views=3)
    table, rows = store.viewed(pictures)
    again, more = store.viewed([*pictures, pictures[0]])
    assert len(opened) == len(pictures)
    assert table.shape == (6, 3, 24)
    np.testing.assert_array_equal(again[more[:6]], table[rows])
    assert more[6] == rows[0]


def test_plain_features_are_of_the_image_as_it_is(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., Split]
) -> None:
    pictures = [Picture(one.path, one.sha256) for one in make_split("train", 2).examples]
    wanted = backbone.features([open_image(picture.path) for picture in pictures])
    found = torch.from_numpy(FeatureStore(backbone, open_image).plain(pictures))
    torch.testing.assert_close(found, wanted)


def test_views_depend_on_the_content_alone(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., Split]
) -> None:
    pictures = [Picture(one.path, one.sha256) for one in make_split("train", 2).examples]
    together = FeatureStore(backbone, open_image, views=2).viewed(pictures)[0]
    alone = FeatureStore(backbone, open_image, views=2).viewed(pictures[3:4])[0]
    np.testing.assert_allclose(alone[0], together[3], rtol=1e-5, atol=1e-6)
    assert np.abs(together[0, 0] - together[0, 1]).max() > 1e-4


def test_no_pictures(backbone: Backbone, open_image: Opener) -> None:
    assert FeatureStore(backbone, open_image, views=2).viewed([])[0].shape == (0, 2, 24)


def test_half_are_flipped_and_turned_by_at_most_15_degrees() -> None:
    # A white dot right of the centre: its place tells the flip and the angle.
    image = Image.new("L", (101, 101))
    image.paste(255, (88, 48, 93, 53))
    angles = []
    for seed in range(200):
        seen = np.asarray(augmented(image, np.random.default_rng(seed)), float)
        rows, columns = np.indices(seen.shape)
        angles.append(np.arctan2((seen * (rows - 50)).sum(), (seen * (columns - 50)).sum()))
    flipped = np.abs(angles) > np.pi / 2
    turn = np.degrees(np.minimum(np.abs(angles), np.pi - np.abs(angles)))
    assert 0.4 < flipped.mean() < 0.6
    assert 12 < turn.max() < 15.5
    assert turn.min() < 2


def test_jitter_changes_colours_within_its_bounds() -> None:
    image = Image.new("RGB", (9, 9), (100, 100, 100))
    centres = [
        np.asarray(augmented(image, np.random.default_rng(seed), 0.2))[4, 4].tolist() for seed in range(50)
    ]
    # Grey stays grey, and 20 % of brightness and of contrast are what one colour can change by.
    assert all(max(pixel) - min(pixel) <= 1 and 60 <= pixel[0] <= 145 for pixel in centres)
    assert len({tuple(pixel) for pixel in centres}) > 10


def test_large_images_shrink_by_their_shorter_side() -> None:
    assert shrunk(Image.new("RGB", (400, 200)), 50).size == (100, 50)
    assert shrunk(Image.new("RGB", (40, 200)), 50).size == (40, 200)


def test_a_folder_keeps_features_for_the_next_run(
    backbone: Backbone, open_image: Opener, make_split: Callable[..., Split], tmp_path: Path
) -> None:
    pictures = [Picture(one.path, one.sha256) for one in make_split("train", 2).examples]
    table, rows = FeatureStore(backbone, open_image, views=2, folder=tmp_path).viewed(pictures[:4])

    def refusing(path: Path) -> Image.Image:
        raise AssertionError(f"{path} was opened again")

    again, found = FeatureStore(backbone, refusing, views=2, folder=tmp_path).viewed(pictures[3::-1])
    np.testing.assert_array_equal(again[found[::-1]], table[rows])
    with pytest.raises(AssertionError):
        FeatureStore(backbone, refusing, views=2, folder=tmp_path).viewed(pictures)
    with pytest.raises(AssertionError):
        FeatureStore(backbone, refusing, views=3, folder=tmp_path).viewed(pictures[:4])


def test_views_that_cannot_be(backbone: Backbone, open_image: Opener) -> None:
    with pytest.raises(UserError, match="at least one view"):
        FeatureStore(backbone, open_image, views=0)
    with pytest.raises(UserError, match="below 1"):
        FeatureStore(backbone, open_image, jitter=1.0)
