from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dalda.config import AugmentConfig
from dalda.generation.folder_names import folder_name
from dalda.generation.sharding import PART, PART_ROWS, Shard, division_for, part_for
from dalda.types import GenerationRequest


def requests_of(count: int) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            source=Path("a.png"),
            source_sha256="hash",
            label="car",
            index=number,
            seed=number,
            prompt="a car",
            guidance_scale=2.0,
            steps=20,
        )
        for number in range(count)
    ]


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(0, 60))
def test_shards_are_the_plan_once_each_in_order(count: int, size: int) -> None:
    plan = requests_of(size)
    shards = [Shard(number, count).requests(plan) for number in range(1, count + 1)]
    assert sorted(request.seed for shard in shards for request in shard) == list(range(size))
    for shard in shards:
        assert [request.seed for request in shard] == sorted(request.seed for request in shard)


def test_a_shard_does_not_depend_on_the_rest_of_the_plan() -> None:
    plan = requests_of(40)
    half = set(plan[::2])
    assert Shard(2, 3).requests(plan[::2]) == tuple(x for x in Shard(2, 3).requests(plan) if x in half)


def test_shards_are_of_similar_size() -> None:
    sizes = [len(Shard(number, 8).requests(requests_of(8000))) for number in range(1, 9)]
    assert min(sizes) > 880
    assert max(sizes) < 1120


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 60))
def test_the_parts_of_a_shard_hold_its_requests(count: int, division: int, size: int) -> None:
    shard = Shard(1 + size % count, count)
    parts = [finer.part for finer in shard.divided(division)]
    assert len(parts) == division
    assert all(shard.includes(Shard.of_part(part)) for part in parts)
    for request in requests_of(size):
        own = request in shard.requests([request])
        assert (part_for(request.id, shard.part, division) in parts) == own
        finer = next(x for x in Shard().divided(count * division) if x.requests([request]))
        assert shard.includes(finer) == own


def test_parts_hold_at_most_so_many_rows() -> None:
    assert [division_for(count) for count in (0, 1, PART_ROWS, PART_ROWS + 1, 1_000_000)] == [
        1,
        1,
        1,
        2,
        112,
    ]
    rows = Counter(part_for(request.id, "", division_for(20_000)) for request in requests_of(20_000))
    assert len(rows) == 3
    assert max(rows.values()) < PART_ROWS
    assert part_for("0" * 20, "part-2-of-4", 1) == "part-2-of-4"
    assert part_for("0" * 20, "", 1) == ""


def test_a_class_is_never_taken_for_a_part() -> None:
    assert Shard(3, 12).part == "part-03-of-12"
    assert PART.fullmatch(Shard(3, 12).part)
    assert not PART.fullmatch(folder_name("part-03-of-12"))


def shard_of(value: str) -> str | None:
    return AugmentConfig(dataset="doodles", out=Path("out"), shard=value).shard


@pytest.mark.parametrize("value", ["0/4", "5/4", "1", "1/0", "-1/4", "1/4/2", "a/b", "1 / 4"])
def test_what_is_no_shard_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="I from 1 to N"):
        shard_of(value)


def test_an_empty_shard_is_a_variable_that_is_not_set() -> None:
    with pytest.raises(ValidationError, match="is a variable not set"):
        shard_of("")


def test_an_array_job_knows_its_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="no array job of SLURM"):
        shard_of("slurm")
    for name, value in {"ID": "7", "COUNT": "4", "MIN": "5"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert shard_of("slurm") == "3/4"
    for name, value in {"ID": "4", "MIN": "0", "STEP": "2"}.items():  # --array=0-6:2
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert shard_of("slurm") == "3/4"
