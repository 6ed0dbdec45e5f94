import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalda.errors import UserError
from dalda.evaluation import feature_cache
from dalda.evaluation.feature_cache import FeatureTable, Matrix, release


def key(number: int) -> str:
    return f"{number:064x}"


def values(*numbers: int) -> Matrix:
    return np.array([[number, number + 0.5, -number] for number in numbers], np.float32).reshape(-1, 3)


def filled(path: Path, *numbers: int) -> FeatureTable:
    table = FeatureTable(3, path)
    table.add([key(number) for number in numbers], values(*numbers))
    return table


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5))
def test_in_memory_and_on_disk_give_back_what_was_added(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    for table in (FeatureTable(3), FeatureTable(3, tmp_path_factory.mktemp("table") / "a.sqlite")):
        for batch in batches:
            table.add([key(number) for number in batch], values(*batch))
        added = list(dict.fromkeys(number for batch in batches for number in batch))
        np.testing.assert_array_equal(table.rows([key(number) for number in added]), values(*added))
        assert table.missing([key(99), *map(key, added), key(99)]) == [key(99)]


def test_a_file_is_read_by_the_next_process_and_shared(tmp_path: Path) -> None:
    first = filled(tmp_path / "a.sqlite", 1, 2)
    second = FeatureTable(3, tmp_path / "a.sqlite")
    second.add([key(3)], values(3))
    first.add([key(3), key(4)], values(30, 4))
    np.testing.assert_array_equal(first.rows([key(3), key(4), key(1)]), values(3, 4, 1))


def _add_and_die(path: Path) -> None:
    filled(path, *range(100))
    os._exit(1)


def test_what_was_added_survives_a_process_that_dies(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_add_and_die, args=(tmp_path / "a.sqlite",)
    )
    process.start()
    process.join()
    assert process.exitcode == 1
    table = FeatureTable(3, tmp_path / "a.sqlite")
    np.testing.assert_array_equal(table.rows([key(7), key(99)]), values(7, 99))


def test_a_large_matrix_is_mapped_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "SMALL", 11)
    table = filled(tmp_path / "a.sqlite", *range(1200))
    found = table.rows([key(number) for number in range(1200)])
    assert isinstance(found, np.memmap)
    release(found)
    np.testing.assert_array_equal(found, values(*range(1200)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    table = filled(path, 1, 2)
    with table._database:
        table._database.execute("UPDATE features SET row = ? WHERE key = ?", (b"x" * 12, key(2)))
    assert len(table.rows([key(1)])) == 1
    with pytest.raises(UserError, match="is not what was written"):
        table.rows([key(2)])
    with pytest.raises(UserError, match="1 rows are gone"):
        table.rows([key(1), key(3)])
    path.write_bytes(b"not a data base, but some text " * 200)
    with pytest.raises(UserError, match=r"a\.sqlite' is damaged .*: delete that file"):
        FeatureTable(3, path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="set DALDA_CACHE"):
        FeatureTable(3, tmp_path / "file" / "a.sqlite")
