from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalda.errors import UserError
from dalda.evaluation.feature_cache import LINE_BYTES, FolderTable, Matrix, MemoryTable


def key(number: int) -> str:
    return f"{number:064x}"


def values(*numbers: int) -> Matrix:
    return np.array([[number, number + 0.5, -number] for number in numbers], np.float32)


def filled(folder: Path, *numbers: int) -> FolderTable:
    table = FolderTable(3, folder)
    table.add([key(number) for number in numbers], values(*numbers))
    return table


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=5))
def test_both_tables_give_back_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    for table in (MemoryTable(3), FolderTable(3, tmp_path_factory.mktemp("table"))):
        for batch in batches:
            table.add([key(number) for number in batch], values(*batch).reshape(-1, 3))
        there = [number for batch in batches for number in batch]
        rows = table.at([key(number) for number in there])
        np.testing.assert_array_equal(table.matrix[rows], values(*there).reshape(-1, 3))
        assert len(table) == len(table.matrix) == len(set(there))
        assert table.missing([key(99), *map(key, there), key(99)]) == [key(99)]


def test_a_folder_is_read_by_the_next_process_and_shared(tmp_path: Path) -> None:
    first = filled(tmp_path, 1, 2)
    second = FolderTable(3, tmp_path)
    second.add([key(3)], values(3))
    first.add([key(3), key(4)], values(30, 4))
    rows = first.at([key(3), key(4), key(1)])
    np.testing.assert_array_equal(first.matrix[rows], values(3, 4, 1))
    first.release()
    np.testing.assert_array_equal(first.matrix[rows], values(3, 4, 1))


@pytest.mark.parametrize("torn", ["keys", "rows"])
def test_a_torn_end_is_written_again(tmp_path: Path, torn: str) -> None:
    filled(tmp_path, 1, 2)
    if torn == "keys":
        path = tmp_path / "keys.txt"
        path.write_bytes(path.read_bytes()[:-10])
    else:
        with (tmp_path / "rows.f32").open("ab") as file:
            file.write(b"half a row")
    table = FolderTable(3, tmp_path)
    missing = table.missing([key(1), key(2), key(5)])
    assert missing == ([key(2), key(5)] if torn == "keys" else [key(5)])
    table.add(missing, values(*(2, 5) if torn == "keys" else (5,)))
    again = FolderTable(3, tmp_path)
    np.testing.assert_array_equal(again.matrix[again.at([key(5), key(2), key(1)])], values(5, 2, 1))


def test_a_damaged_cache_is_one_sentence(tmp_path: Path) -> None:
    filled(tmp_path, 1, 2)
    rows, keys = tmp_path / "rows.f32", tmp_path / "keys.txt"
    whole = rows.read_bytes()
    rows.write_bytes(whole[:12] + b"XXXX" + whole[16:])
    table = FolderTable(3, tmp_path)
    assert len(table.at([key(1)])) == 1
    with pytest.raises(UserError, match="row 1 is not what was written"):
        table.at([key(2)])
    rows.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="fewer rows than keys"):
        FolderTable(3, tmp_path)
    keys.write_bytes(b"?" * LINE_BYTES)
    with pytest.raises(UserError, match=r"line 1 of keys\.txt"):
        FolderTable(3, tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be used"):
        FolderTable(3, tmp_path / "file")
