from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dalda.datasets.few_shot import (
    SPLIT_STRATEGIES,
    SplitStrategy,
    part_of,
    sample_few_shot,
    split_as_json,
    stratified_order,
)
from dalda.datasets.image_folder import ImageDataset, read_folder
from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**32)


@given(count=st.integers(0, 40), seed=SEEDS)
def test_halves_are_the_whole_and_differ_by_one_at_most(count: int, seed: int) -> None:
    order = stratified_order(["a"], [count], seed)[0]
    train, val = part_of(order, "train", 0.5), part_of(order, "val", 0.5)
    assert [*train, *val] == order.tolist()
    assert 0 <= len(train) - len(val) <= 1


@given(counts=COUNTS, seed=SEEDS)
def test_a_class_is_drawn_alike_whatever_the_others_hold(counts: list[int], seed: int) -> None:
    classes = [f"class {index}" for index in range(len(counts))]
    together = stratified_order(classes, counts, seed)
    for label, count, order in zip(classes, counts, together, strict=True):
        assert stratified_order([label], [count], seed)[0].tolist() == order.tolist()
        assert sorted(order) == list(range(count))


def folder_of(root: Path, counts: dict[str, int], part: str = "") -> None:
    for label, count in counts.items():
        (root / part / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / part / label / f"{index:02d}.png").write_bytes(f"{part}{label}{index}".encode())


@pytest.fixture(scope="module")
def one_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one list")
    folder_of(root, {"cat": 7, "dog": 6, "fox": 9})
    return root


@pytest.fixture(scope="module")
def two_lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two lists")
    folder_of(root, {"cat": 7, "dog": 6}, "train")
    folder_of(root, {"cat": 5, "dog": 8}, "val")
    return root


def names(catalog: ImageDataset, **request: object) -> list[str]:
    split = sample_few_shot(catalog, **{"hold_out": 0.0, **request})  # type: ignore[arg-type]
    return [example.path.relative_to(catalog.root).as_posix() for example in split.images]


def test_every_image_of_a_plain_folder_is_an_example_in_file_order(one_list: Path) -> None:
    split = sample_few_shot(read_folder(one_list), hold_out=0)
    assert [path.path for path in split.images] == sorted(one_list.glob("*/*.png"))
    assert all(example.sha256 == sha256_of(example.path) for example in split.images)
    assert all(example.label == example.path.parent.name for example in split.images)
    assert (split.dataset, split.root, split.part, split.seed, split.shots) == (
        one_list.name,
        one_list,
        "train",
        0,
        None,
    )


def test_shots_of_a_plain_folder_are_the_first_of_the_permutation(one_list: Path) -> None:
    rng = np.random.default_rng(3)
    expected = []
    for label, count in (("cat", 7), ("dog", 6), ("fox", 9)):
        expected += [f"{label}/{index:02d}.png" for index in rng.permutation(count)[:4]]
    assert names(read_folder(one_list), seed=3, shots=4) == expected


def test_val_of_a_plain_folder_is_its_own_part_in_file_order(two_lists: Path) -> None:
    expected = [path.relative_to(two_lists).as_posix() for path in sorted(two_lists.glob("val/*/*.png"))]
    for hold_out in (0.0, 0.5):
        assert names(read_folder(two_lists), part="val", hold_out=hold_out) == expected
        assert len(names(read_folder(two_lists), hold_out=hold_out)) == 13


def test_a_halved_folder_halves_each_of_its_lists(two_lists: Path) -> None:
    catalog = read_folder(two_lists, "doodles", halved=True)
    for part, counts in (("train", (7, 6)), ("val", (5, 8))):
        rng = np.random.default_rng(2)
        expected = []
        for label, count in zip(("cat", "dog"), counts, strict=True):
            half = np.array_split(rng.permutation(count), 2)[part == "val"]
            expected += [f"{part}/{label}/{index:02d}.png" for index in half]
        assert names(catalog, part=part, seed=2) == expected


def test_without_a_validation_part_there_is_none_unless_asked_for(one_list: Path) -> None:
    catalog = read_folder(one_list)
    with pytest.raises(UserError, match="has no validation part"):
        sample_few_shot(catalog, part="val", hold_out=0)
    train, val = names(catalog, hold_out=0.5), names(catalog, part="val", hold_out=0.5)
    assert sorted(train + val) == sorted(names(catalog))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    seed=SEEDS,
    few=st.integers(1, 3),
    split_strategy=st.sampled_from(["original", "stratified"]),
    halved=st.booleans(),
    two=st.booleans(),
)
def test_splits_nest_in_shots_and_share_nothing_between_parts(
    one_list: Path, two_lists: Path, seed: int, few: int, split_strategy: str, halved: bool, two: bool
) -> None:
    catalog = read_folder(two_lists if two else one_list, halved=halved)
    small, large = (
        sample_few_shot(catalog, seed=seed, shots=shots, split_strategy=split_strategy, hold_out=0.5).images
        for shots in (few, 3)
    )
    val = sample_few_shot(
        catalog, part="val", seed=seed, split_strategy=split_strategy, hold_out=0.5
    ).images
    for label in catalog.classes:
        of_small = [example for example in small if example.label == label]
        of_large = [example for example in large if example.label == label]
        assert of_small == of_large[:few]
        assert len(of_large) == 3
    assert {example.path for example in large}.isdisjoint(example.path for example in val)


def test_a_stratified_split_leaves_separate_lists_whole(two_lists: Path) -> None:
    catalog = read_folder(two_lists, halved=True)
    assert len(names(catalog, split_strategy="stratified")) == 13
    assert len(names(catalog, split_strategy="stratified", part="val")) == 13


def test_another_seed_draws_other_examples(one_list: Path) -> None:
    catalog = read_folder(one_list)
    for split_strategy in ("original", "stratified"):
        assert (
            len(
                {
                    tuple(names(catalog, seed=seed, shots=3, split_strategy=split_strategy))
                    for seed in range(5)
                }
            )
            == 5
        )


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"shots": 8}, "class 'cat' has 7 images for train, fewer than the 8 wanted"),
        (
            {"shots": 4, "hold_out": 0.5},
            "class 'dog' has 3 images for train of 6, the others being held out",
        ),
        ({"shots": 0}, "0 shots are too few"),
        ({"part": "test"}, "no part 'test': choose one of train, val"),
        ({"split_strategy": "best"}, "no split strategy 'best': choose one of stratified, original"),
        ({"seed": -1}, "the seed -1 is negative"),
        ({"hold_out": 1.0}, "1 of the images cannot be held out"),
    ],
)
def test_an_impossible_split_is_explained(one_list: Path, request_: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        names(read_folder(one_list), **request_)


def test_a_class_of_one_image_has_none_to_hold_out(tmp_path: Path) -> None:
    folder_of(tmp_path, {"cat": 1, "dog": 4})
    with pytest.raises(UserError, match="class 'cat' has 0 images for val of 1"):
        sample_few_shot(read_folder(tmp_path), part="val", hold_out=0.5)


def test_a_split_as_json_has_paths_relative_to_the_root(tmp_path: Path) -> None:
    folder_of(tmp_path, {"cat": 1, "dog": 2})
    assert split_as_json(sample_few_shot(read_folder(tmp_path, "mine"), seed=4, hold_out=0)) == {
        "dataset": "mine",
        "seed": 4,
        "shots": None,
        "part": "train",
        "classes": ["cat", "dog"],
        "images": [
            {"path": "cat/00.png", "label": "cat"},
            {"path": "dog/00.png", "label": "dog"},
            {"path": "dog/01.png", "label": "dog"},
        ],
    }


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 60), hold_out=st.floats(0, 0.99), seed=SEEDS)
def test_a_share_is_held_out_rounded_down(count: int, hold_out: float, seed: int) -> None:
    order = stratified_order(["a"], [count], seed)[0]
    train, val = part_of(order, "train", hold_out), part_of(order, "val", hold_out)
    assert [*train, *val] == order.tolist()
    assert count * hold_out - 1 < len(val) <= count * hold_out + 1e-6
    assert len(train) > 0 or count == 0


def test_a_registered_strategy_draws(one_list: Path) -> None:
    def last(classes: object, counts: list[int], seed: int) -> list[np.ndarray]:
        return [np.arange(count)[::-1] for count in counts]

    strategy = SplitStrategy(last)  # type: ignore[arg-type]
    SPLIT_STRATEGIES.register("last first", strategy)
    found = names(read_folder(one_list), shots=1, split_strategy="last first")
    assert found == ["cat/06.png", "dog/05.png", "fox/08.png"]
