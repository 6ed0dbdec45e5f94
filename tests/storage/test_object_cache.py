import os
from pathlib import Path

import pytest

from dalda.storage import path_of, read_bytes, write
from dalda.storage.object_cache import sweep
from dalda.storage.object_store import StoredObject


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The paths of all objects that are read from a store."""
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "cache"))
    paths: list[str] = []
    read = StoredObject.read

    def counted(stored: StoredObject) -> bytes:
        paths.append(stored.path)
        return read(stored)

    monkeypatch.setattr(StoredObject, "read", counted)
    return paths


def test_what_was_read_once_is_not_fetched_again_until_it_changes(fetched: list[str]) -> None:
    path = path_of("memory://tests/cache/a.png")
    write(path, b"one")
    assert read_bytes(path) == read_bytes(path) == b"one"
    assert len(fetched) == 1
    write(path, b"two")
    assert read_bytes(path) == b"two"
    assert len(fetched) == 2


def test_a_damaged_or_unwritable_cache_does_no_harm(
    fetched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of("memory://tests/cache/b.png")
    write(path, b"one")
    read_bytes(path)
    (kept,) = (tmp_path / "cache/objects").iterdir()
    kept.write_bytes(b"o")
    assert read_bytes(path) == b"one"
    (tmp_path / "file").touch()
    monkeypatch.setenv("DALDA_CACHE", str(tmp_path / "file"))
    assert read_bytes(path) == b"one"


def test_the_files_that_were_read_longest_ago_go_first(tmp_path: Path) -> None:
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    sweep(tmp_path, limit=11)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
