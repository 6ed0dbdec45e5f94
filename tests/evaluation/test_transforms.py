import numpy as np
import pytest
import torch
from PIL import Image

from dalda.evaluation.transforms import change_colours, flip_and_rotate, shrink


def test_half_are_flipped_and_turned_by_at_most_15_degrees() -> None:
    # A white dot right of the centre: its place tells the flip and the angle.
    image = Image.new("L", (101, 101))
    image.paste(255, (88, 48, 93, 53))
    angles = []
    for seed in range(200):
        seen = np.asarray(flip_and_rotate(image, np.random.default_rng(seed)), float)
        rows, columns = np.indices(seen.shape)
        angles.append(np.arctan2((seen * (rows - 50)).sum(), (seen * (columns - 50)).sum()))
    flipped = np.abs(angles) > np.pi / 2
    turn = np.degrees(np.minimum(np.abs(angles), np.pi - np.abs(angles)))
    assert 0.4 < flipped.mean() < 0.6
    assert 12 < turn.max() < 15.5
    assert turn.min() < 2


@pytest.mark.parametrize("transforms", ["jitter", "randaugment"])
def test_colours_are_drawn_from_the_labels_alone(transforms: str) -> None:
    images = [Image.effect_noise((16, 12), 60).convert("RGB") for _ in range(3)]
    state = torch.random.get_rng_state()
    first = change_colours(images, transforms, "a image")
    assert [np.asarray(one).shape for one in first] == [(12, 16, 3)] * 3
    assert all(
        one.tobytes() == other.tobytes()
        for one, other in zip(first, change_colours(images, transforms, "a image"), strict=True)
    )
    others = change_colours(images, transforms, "another")
    assert not all(one.tobytes() == other.tobytes() for one, other in zip(first, others, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_jitter_stays_within_its_bounds_and_standard_touches_nothing() -> None:
    grey = [Image.new("RGB", (9, 9), (100, 100, 100)) for _ in range(50)]
    centres = [np.asarray(image)[4, 4].tolist() for image in change_colours(grey, "jitter", 0)]
    # Grey stays grey, and brightness and contrast by 30 % each are what one colour can change by.
    assert all(max(pixel) - min(pixel) <= 1 and 48 <= pixel[0] <= 170 for pixel in centres)
    assert len({tuple(pixel) for pixel in centres}) > 10
    assert change_colours(grey, "standard", 0) == grey


def test_large_images_shrink_by_their_shorter_side() -> None:
    assert shrink(Image.new("RGB", (400, 200)), 50).size == (100, 50)
    assert shrink(Image.new("RGB", (40, 200)), 50).size == (40, 200)
