"""Whole folders, links to large files, and files in pieces."""

import errno
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dalda.storage import (
    StorageError,
    files,
    link_or_copy,
    list_folder,
    make_folder,
    move,
    open_append,
    open_new,
    unfinished,
    whole_folder,
    write,
    write_new,
)


def test_a_folder_is_there_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    with whole_folder(out) as folder:
        with open_new(folder / "class/a", root=folder) as file:
            file.write(b"x")
        assert not out.exists()
    assert (out / "class/a").read_bytes() == b"x"
    assert list_folder(tmp_path / "deep") == ["out"]


def test_a_failure_leaves_nothing_and_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    def fail(folder: Path) -> None:
        (folder / "a").write_text("x")
        raise KeyError

    with pytest.raises(KeyError), whole_folder(tmp_path / "out") as folder:
        fail(folder)
    assert list_folder(tmp_path) == ["out"]
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("x")
    assert list_folder(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("is_file", [False, True])
def test_a_place_that_holds_something_is_refused_before_the_work(tmp_path: Path, is_file: bool) -> None:
    out = tmp_path / "out"
    mine = out if is_file else out / "mine"
    make_folder(mine.parent)
    mine.write_text("mine")
    with pytest.raises(StorageError, match="there already"), whole_folder(out):
        pytest.fail("begun")
    assert mine.read_text() == "mine"
    assert list_folder(tmp_path) == ["out"]


def test_what_another_process_put_there_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there already"), whole_folder(tmp_path / "out"):
        write_new(tmp_path / "out/mine", "mine")
    assert list_folder(tmp_path / "out") == ["mine"]
    assert list_folder(tmp_path) == ["out"]


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dalda.storage import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'deep').mkdir(); (folder / 'deep/torn').write_text('x'); os._exit(9)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    assert run.returncode == 9
    assert list_folder(tmp_path) == [".out.partial"]
    with whole_folder(tmp_path / "out") as folder:
        assert list_folder(folder) == []
        (folder / "a").write_text("x")
    assert list_folder(tmp_path) == ["out"]
    assert list_folder(tmp_path / "out") == ["a"]


def test_what_another_process_begins_after_the_renaming_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def then_another_begins(old: Path, new: Path) -> None:
        rename(old, new)
        old.mkdir()
        (old / "theirs.txt").write_text("of another process")

    monkeypatch.setattr(os, "rename", then_another_begins)
    with whole_folder(tmp_path / "out") as folder:
        (folder / "mine.txt").write_text("")
    assert (tmp_path / "out/mine.txt").exists()
    assert (folder / "theirs.txt").exists()


def test_links_that_somebody_planted_are_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/file").write_text("kept")
    unfinished(tmp_path / "out").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="symbolic link"), whole_folder(tmp_path / "out"):
        pass
    root = tmp_path / "root"
    root.mkdir()
    (root / "class").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="symbolic link"):
        link_or_copy(tmp_path / "victim/file", root / "class/a", root=root)
    with pytest.raises(StorageError, match="symbolic link"):
        move(tmp_path / "victim/file", root / "class", root=root)
    assert list_folder(tmp_path / "victim") == ["file"]
    assert (tmp_path / "victim/file").read_text() == "kept"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_linked_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_links(*names: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    (tmp_path / "a").write_text("x")
    if not links:
        monkeypatch.setattr("dalda.storage.folders.os.link", no_links)
    assert link_or_copy(tmp_path / "a", tmp_path / "out/b", root=tmp_path) == links
    assert (tmp_path / "out/b").read_text() == "x"
    assert os.path.samefile(tmp_path / "a", tmp_path / "out/b") == links
    with pytest.raises(StorageError, match="there already"):
        link_or_copy(tmp_path / "a", tmp_path / "out/b", root=tmp_path)


def test_a_file_goes_on_or_begins_again(tmp_path: Path) -> None:
    for keep, expected in ((True, b"ab"), (True, b"abab"), (False, b"ab")):
        with open_append(tmp_path / "a.part", keep=keep) as file:
            file.write(b"ab")
        assert (tmp_path / "a.part").read_bytes() == expected
    move(tmp_path / "a.part", tmp_path / "a")
    assert list_folder(tmp_path) == ["a"]


def write_shared(path: Path, data: str) -> None:
    write(path, data, shared=True)


@pytest.mark.parametrize("put", [write_new, write_shared])
def test_the_very_same_new_file_is_as_good_and_stale_ones_go(
    tmp_path: Path, put: Callable[[Path, str], None]
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    stale, *others = (
        f".a.{name}.partial"
        for name in (f"{machine}-{dead.pid}-1", f"{machine}-{os.getpid()}-1", f"other-{dead.pid}-1", "mine")
    )
    for _ in range(2):
        for name in (stale, *others):
            (tmp_path / name).write_text("torn")
        files._sweep.cache_clear()  # as in the next process
        put(tmp_path / "a", "x")
        assert list_folder(tmp_path) == sorted([*others, "a"])


def test_a_folder_of_many_files_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []

    def listing(folder: Path) -> list[str]:
        listed.append(folder)
        return []

    monkeypatch.setattr("dalda.storage.files.os.listdir", listing)
    for number in range(3):
        write_shared(tmp_path / str(number), "x")
    assert listed == [tmp_path]


def test_another_new_file_is_refused(tmp_path: Path) -> None:
    write_new(tmp_path / "a", "x")
    with pytest.raises(StorageError, match="there already"):
        write_new(tmp_path / "a", "xy")
