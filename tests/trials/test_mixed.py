from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dalda.errors import UserError
from dalda.records import Sample, Split
from dalda.trials.mixed import MixedDataset

Opener = Callable[[Path], Image.Image]
Make = Callable[[], MixedDataset]


def tensor_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


@pytest.fixture
def make(
    make_split: Callable[..., Split], make_samples: Callable[..., tuple[Sample, ...]], open_image: Opener
) -> Make:
    split = make_split("train", 2)
    samples = make_samples(split, 3)
    return lambda: MixedDataset(split, samples, 0.5, 7, open_image=open_image, transform=tensor_of)


def epochs(dataset: MixedDataset, count: int, **options: object) -> list[torch.Tensor]:
    loader = DataLoader(dataset, batch_size=2, **options)  # type: ignore[arg-type]
    return [torch.cat([images for images, _ in loader]) for _ in range(count)]


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_workers_change_nothing_and_every_epoch_draws_anew(make: Make, options: dict[str, object]) -> None:
    alone = epochs(make(), 3)
    shared = epochs(make(), 3, **options)
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one, other)
    assert not any(torch.equal(one, other) for one, other in pairwise(alone))
    dataset = make()
    drawn = [[dataset.choose(index, visit) for index in range(6)] for visit in range(8)]
    assert len({tuple(row) for row in drawn}) == 8


def test_half_are_copies_of_the_same_image(make: Make) -> None:
    dataset = make()
    drawn = [dataset.choose(2, visit) for visit in range(4000)]
    share = np.bincount(drawn, minlength=24) / 4000
    assert share[2] == pytest.approx(0.5, abs=0.03)
    assert share[dataset.copies[2]] == pytest.approx([1 / 6] * 3, abs=0.03)
    assert share.sum() == pytest.approx(share[2] + share[dataset.copies[2]].sum())


def test_items_are_images_with_class_numbers(make: Make) -> None:
    dataset = make()
    assert len(dataset) == 6
    assert [dataset[index][1] for index in range(6)] == [0, 0, 1, 1, 2, 2]


def test_a_run_can_go_on_at_an_epoch(make: Make) -> None:
    first, second = make(), make()
    for dataset in (first, second):
        dataset.set_epoch(3)
    _ = [second[0] for _ in range(5)]
    second.set_epoch(3)
    assert [torch.equal(first[0][0], second[0][0]) for _ in range(5)] == [True] * 5


def test_a_foreign_folder_is_refused(
    make_split: Callable[..., Split], make_samples: Callable[..., tuple[Sample, ...]], open_image: Opener
) -> None:
    samples = make_samples(make_split("train", 2), 1)
    with pytest.raises(UserError, match="None of the 6"):
        MixedDataset(make_split("train", 2, seed=9), samples, open_image=open_image)
    with pytest.raises(UserError, match="between 0 and 1"):
        MixedDataset(make_split("train", 2), samples, 2.0, open_image=open_image)
