"""A set of more images than the metadata of one part hold."""

import json
import shutil
from pathlib import Path

import datasets
import pytest
from tests.workflows.test_merge import COUNT, images, planned, run

from dalda.config import AugmentConfig, MergeConfig
from dalda.errors import UserError
from dalda.generation import sharding
from dalda.generation.records import Dropped
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.workflows.augment import open_dataset
from dalda.workflows.merge import merge

PARTS = ["part-1-of-3", "part-2-of-3", "part-3-of-3"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 images are three parts of about 8."""
    monkeypatch.setattr(sharding, "PART_ROWS", 9)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "dalda.yaml"
    }


def rows(folder: Path) -> dict[str, list[str]]:
    """Request ids by part, in the order of the metadata."""
    return {
        path.parent.name: [json.loads(line)["request_id"] for line in path.read_text().splitlines()]
        for path in sorted(folder.glob("train/**/metadata.jsonl"))
    }


def test_a_large_set_lies_in_parts_that_read_as_one(tmp_path: Path) -> None:
    run(tmp_path / "real", tmp_path / "out")
    plan = [request.id for request in planned(tmp_path / "real").plan.requests]
    parts = rows(tmp_path / "out")
    assert list(parts) == PARTS
    assert sorted(id for part in parts.values() for id in part) == sorted(plan)
    assert all(part == sorted(part, key=plan.index) for part in parts.values())
    read = SyntheticDataset.existing(tmp_path / "out").synthetic_images()
    assert {image.request_id: image.path.read_bytes() for image in read} == images(tmp_path / "out")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert sorted(loaded["request_id"]) == sorted(plan)
    assert all(image.size == (8, 8) for image in loaded["image"])


def test_a_run_that_lost_images_and_lines_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    real, out = tmp_path / "real", tmp_path / "out"
    run(real, out)
    whole = files(out)
    sorted(out.glob("train/part-1*/*/*.png"))[0].unlink()
    shutil.rmtree(out / "train/part-2-of-3")
    metadata = out / "train/part-3-of-3/metadata.jsonl"
    metadata.write_bytes(metadata.read_bytes()[:-20])
    assert run(real, out).generated == 2 + len(
        [x for x in whole if x.startswith("train/part-2") and ".png" in x]
    )
    assert files(out) == whole


def test_what_was_begun_in_one_part_stays_and_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a set of format 1 that was begun before there were parts."""
    real, out = tmp_path / "real", tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "PART_ROWS", COUNT)
        run(real, out)
    lost = sorted(out.glob("train/*/*.png"))[:3]
    before = {path.stem: path.read_bytes() for path in lost}
    for path in lost:
        path.unlink()
    assert run(real, out).generated == 3
    assert set(rows(out)) <= {"train", *PARTS}
    assert before.items() <= images(out).items()
    assert run(real, out).generated == 0
    assert len(SyntheticDataset.existing(out).synthetic_images()) == COUNT


def test_shards_are_divided_too_and_join_to_the_set_of_one_run(tmp_path: Path) -> None:
    real = tmp_path / "real"
    run(real, tmp_path / "whole")
    shards = tuple(tmp_path / f"out-{number}" for number in (1, 2))
    for number, shard in enumerate(shards, 1):
        run(real, shard, f"{number}/2")
    assert set(rows(shards[0])) <= {"part-1-of-4", "part-3-of-4"}
    report = merge(MergeConfig(places=shards, out=tmp_path / "all"))
    assert (report.images, report.missing) == (COUNT, 0)
    assert run(real, tmp_path / "all").generated == 0  # puts the records in order
    assert files(tmp_path / "all") == files(tmp_path / "whole")


def test_shards_of_two_divisions_never_add_to_one_part_at_once(tmp_path: Path) -> None:
    def opened(shard: str) -> SyntheticDataset:
        config = AugmentConfig(dataset="folder", out=tmp_path / "out", shard=shard)
        return open_dataset(config, planned(tmp_path / "real"))

    with opened("1/2").held():
        with opened("2/2").held():
            pass
        with pytest.raises(UserError, match="another process"), opened("3/4").held():
            pass


def test_dropped_requests_of_a_divided_shard_are_found(tmp_path: Path) -> None:
    config = AugmentConfig(dataset="folder", out=tmp_path / "out", shard="1/2")
    decided = planned(tmp_path / "real")
    dataset = open_dataset(config, decided)
    dataset.add([], [Dropped(decided.plan.requests[0], "of one colour", 1)])
    assert [line["reason"] for line in SyntheticDataset.existing(tmp_path / "out").dropped()] == [
        "of one colour"
    ]
