from collections.abc import Callable
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, DistributedSampler, Subset

from dalda.errors import UserError
from dalda.types import FewShotSplit, SyntheticImage
from dalda.workflows.torch_dataset import MixedDataset

Make = Callable[..., MixedDataset]


def tensor_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


@pytest.fixture
def make(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> Make:
    split = make_split("train", 2)
    synthetic = make_synthetic(split, 3)
    return lambda seed=7: MixedDataset(split, synthetic, 0.5, seed, transform=tensor_of)


def epochs(dataset: MixedDataset, count: int, **options: object) -> list[torch.Tensor]:
    loader = DataLoader(dataset, batch_size=2, **options)  # type: ignore[arg-type]
    return [torch.cat([images for images, _ in loader]) for _ in range(count)]


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_workers_change_nothing_and_every_epoch_has_new_draws(
    make: Make, options: dict[str, object]
) -> None:
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


def test_an_index_is_any_whole_number(make: Make) -> None:
    """A Subset of a numpy array, and a seed drawn by numpy, are as good as Python's own."""
    plain, other = make(), make()
    subset = Subset(other, np.arange(6))  # type: ignore[arg-type]
    for index in range(6):
        assert torch.equal(plain[index][0], subset[index][0])
    seeded = make(np.int64(7))
    assert [seeded.choose(2, visit) for visit in range(9)] == [plain.choose(2, visit) for visit in range(9)]
    assert torch.equal(make()[-1][0], make()[5][0])
    assert make()[-6][1] == 0
    for beyond in (6, -7):
        with pytest.raises(IndexError):
            plain[beyond]
    assert len(list(make())) == 6  # type: ignore[call-overload]


@pytest.mark.parametrize("workers", [1, 2])
def test_after_an_epoch_that_was_cut_short_set_epoch_says_where_draws_stand(
    make: Make, workers: int
) -> None:
    """Workers look ahead, and what they opened is counted, though nobody saw it."""

    def second_epoch(workers: int) -> torch.Tensor:
        dataset = make()
        loader = DataLoader(dataset, batch_size=1, num_workers=workers)
        dataset.set_epoch(0)
        for _ in islice(loader, 1):
            pass
        dataset.set_epoch(1)
        return torch.cat([images for images, _ in loader])

    assert torch.equal(second_epoch(workers), second_epoch(0))


def test_several_processes_draw_as_one_where_set_epoch_is_called(make: Make) -> None:
    def drawn(ranks: int, *, set_epochs: bool) -> list[list[torch.Tensor]]:
        """The images of each epoch, by number."""
        mixed = [make() for _ in range(ranks)]
        samplers: list[DistributedSampler[int]] = [
            DistributedSampler(one, ranks, rank, shuffle=True, seed=3) for rank, one in enumerate(mixed)
        ]
        epochs = []
        for epoch in range(4):
            found: dict[int, torch.Tensor] = {}
            for one, sampler in zip(mixed, samplers, strict=True):
                sampler.set_epoch(epoch)
                if set_epochs:
                    one.set_epoch(epoch)
                found |= {index: one[index][0] for index in sampler}
            epochs.append([found[index] for index in sorted(found)])
        return epochs

    def alike(first: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
        pairs = zip(first, other, strict=True)
        return all(torch.equal(torch.stack(one), torch.stack(two)) for one, two in pairs)

    assert alike(drawn(1, set_epochs=True), drawn(2, set_epochs=True))
    assert not alike(drawn(1, set_epochs=False), drawn(2, set_epochs=False))


def test_a_run_can_go_on_at_an_epoch(make: Make) -> None:
    first, second = make(), make()
    for dataset in (first, second):
        dataset.set_epoch(3)
    _ = [second[0] for _ in range(5)]
    second.set_epoch(3)
    assert [torch.equal(first[0][0], second[0][0]) for _ in range(5)] == [True] * 5


def test_a_foreign_folder_is_refused(
    make_split: Callable[..., FewShotSplit], make_synthetic: Callable[..., tuple[SyntheticImage, ...]]
) -> None:
    synthetic = make_synthetic(make_split("train", 2), 1)
    with pytest.raises(UserError, match="None of the 6"):
        MixedDataset(make_split("train", 2, seed=9), synthetic)
    with pytest.raises(UserError, match="between 0 and 1"):
        MixedDataset(make_split("train", 2), synthetic, 2.0)
