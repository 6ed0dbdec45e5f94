"""Atomic writes: whole or not there, never through a link, never over something of the user's."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dalda import UserError
from dalda.storage import (
    StorageError,
    append_lines,
    exists,
    list_folder,
    make_folder,
    open_binary,
    read_bytes,
    read_text,
    remove,
    unfinished,
    write,
    write_new,
)

KEEP = "of somebody else"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside the output that must stay as it is."""
    path = tmp_path / "victim"
    path.write_text(KEEP)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_file_is_written_and_replaced(out: Path) -> None:
    write(out / "a", "one")
    write(out / "a", "two", sync=False)
    write(out / "a", b"three", shared=True)
    assert (out / "a").read_text() == "three"
    assert list_folder(out) == ["a"]


def test_what_a_stop_left_is_taken_over(out: Path) -> None:
    unfinished(out / "a").write_text("torn")
    write(out / "a", "whole")
    assert read_text(out / "a") == "whole"
    assert list_folder(out) == ["a"]


@pytest.mark.parametrize("name", ["a", ".a.partial"])
@pytest.mark.parametrize("command", [write, append_lines, write_new])
def test_a_planted_link_is_refused(out: Path, victim: Path, name: str, command: Any) -> None:
    if command is append_lines and name != "a":
        pytest.skip("lines are added in place")
    if command is write_new and name != "a":
        pytest.skip("its unfinished file has another name")
    (out / name).symlink_to(victim)
    with pytest.raises(UserError, match=r"symbolic link|is there already"):
        command(out / "a", ["x"] if command is append_lines else "x")
    assert victim.read_text() == KEEP
    assert (out / name).is_symlink()
    assert list_folder(out) == [name]


@pytest.mark.parametrize("target", ["victim", "nowhere"])
def test_a_broken_or_whole_link_as_a_folder_is_refused(out: Path, tmp_path: Path, target: str) -> None:
    if target == "victim":
        (tmp_path / target).mkdir()
    (out / "class").symlink_to(tmp_path / target)
    actions: list[Callable[[], None]] = [
        lambda: write(out / "class/a", "x", root=out),
        lambda: make_folder(out / "class/sub", root=out),
        lambda: append_lines(out / "class/a", ["x"], root=out),
        lambda: write_new(out / "class/a", "x", root=out),
    ]
    for action in actions:
        with pytest.raises(StorageError, match="symbolic link"):
            action()
    assert not (tmp_path / target / "a").exists()


def test_the_users_own_link_above_the_output_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    make_folder(tmp_path / "out/class", root=tmp_path / "out")
    write(tmp_path / "out/class/a", "x", root=tmp_path / "out")
    assert (tmp_path / "disk/class/a").read_text() == "x"


@pytest.mark.parametrize("name", ["a", ".a.partial"])
def test_a_hard_link_to_another_file_leaves_that_as_it_is(out: Path, victim: Path, name: str) -> None:
    os.link(victim, out / name)
    append_lines(out / "a", ["line"])
    write(out / "b", "x")
    write(out / "a", (out / "a").read_bytes() + b"more")
    assert victim.read_text() == KEEP
    assert (out / "a").read_text().endswith("line\nmore")


def test_a_new_file_is_never_written_over_another(out: Path) -> None:
    write_new(out / "a", "one")
    with pytest.raises(StorageError, match="there already and is not overwritten") as caught:
        write_new(out / "a", "two")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EEXIST
    assert read_text(out / "a") == "one"
    assert list_folder(out) == ["a"]


def test_of_many_new_files_of_one_name_one_is_kept(out: Path) -> None:
    refused = []

    def make(number: int) -> None:
        try:
            write_new(out / "a", str(number))
        except UserError:
            refused.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(refused) == 7
    assert list_folder(out) == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_a_full_disk_leaves_nothing(out: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    write(out / "old", "kept")
    append_lines(out / "lines", ["kept"])

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_links(*names: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    with monkeypatch.context() as patch:
        patch.setattr("dalda.storage.files.os.fsync", full)
        if not links:
            patch.setattr("dalda.storage.files.os.link", no_links)
        actions: list[Callable[[], None]] = [
            lambda: write(out / "new", "x"),
            lambda: write(out / "old", "x"),
            lambda: write_new(out / "newer", "x"),
            lambda: append_lines(out / "lines", ["torn"]),
        ]
        for action in actions:
            with pytest.raises(StorageError, match="the disk is full; free some space"):
                action()
    assert list_folder(out) == ["lines", "old"]
    assert read_text(out / "old") == "kept"
    assert read_text(out / "lines") == "kept\n"
    write_new(out / "newer", "x")
    append_lines(out / "lines", ["whole"])
    assert read_text(out / "lines") == "kept\nwhole\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing/a", "no such file or folder"),
        ("file/a", "a part of the path is a file"),
        ("x" * 300, "the name is too long"),
    ],
)
def test_it_says_what_happened(out: Path, path: str, words: str) -> None:
    (out / "file").write_text("")
    with pytest.raises(StorageError, match=words):
        write(out / path, "x")


def test_a_bug_is_no_users_mistake(out: Path) -> None:
    with pytest.raises(TypeError):
        write(out / "a", 3)  # type: ignore[arg-type]
    assert list_folder(out) == []


def test_only_plain_files_are_read(out: Path) -> None:
    os.mkfifo(out / "pipe")
    for path, words in (
        (out / "pipe", "no plain file"),
        (out, "is a folder"),
        (out / "no", "no such file"),
    ):
        with pytest.raises(StorageError, match=words):
            open_binary(path)
    with pytest.raises(FileNotFoundError):
        read_bytes(out / "no")


def test_a_large_file_is_refused(out: Path) -> None:
    write(out / "a", b"x" * 2049)
    with pytest.raises(UserError, match="larger than 2 kB"):
        read_bytes(out / "a", limit=2048)
    assert len(read_bytes(out / "a", limit=None)) == 2049


def test_removing_takes_the_link_not_its_target(out: Path, victim: Path) -> None:
    (out / "a").symlink_to(victim)
    remove(out / "a")
    remove(out / "a")
    assert not exists(out / "a")
    assert victim.read_text() == KEEP


def test_object_stores_have_the_same_functions() -> None:
    place = "memory://bucket/folder"
    make_folder(place)
    write(place + "/a", "one")
    write_new(place + "/b", "two")
    append_lines(place + "/a", [" and more"])
    assert read_text(place + "/a") == "one and more\n"
    assert list_folder(place) == ["a", "b"]
    assert list_folder("memory://nowhere") == []
    with pytest.raises(StorageError, match="is there already"):
        write_new(place + "/b", "x")
    with pytest.raises(StorageError, match="no such file"):
        read_bytes(place + "/c")
    with pytest.raises(UserError, match="address 'nosuchstore://a' cannot be used"):
        write("nosuchstore://a", "x")


WRITER = """
import sys
from pathlib import Path
from dalda.storage import append_lines, jsonl, write, write_new
out = Path(sys.argv[1])
jsonl.fix(out / "lines")
done = (out / "lines").read_text().splitlines() if (out / "lines").exists() else []
print("ready", flush=True)
for number in range(len(done), 40):
    write(out / "state", str(number) * 5000)
    append_lines(out / "lines", [str(number) * 500])
if not (out / "new").exists():
    write_new(out / "new", "x" * 100000)
"""


def test_random_kills_leave_the_files_of_an_unbroken_run(out: Path) -> None:
    random = Random(1)
    for _ in range(30):
        run = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE)
        assert run.stdout is not None
        run.stdout.readline()
        try:
            run.wait(random.uniform(0, 0.03))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
        if (out / "state").exists():
            assert len((out / "state").read_text()) in (5000, 10000)
    subprocess.run([sys.executable, "-c", WRITER, str(out)], check=True, stdout=subprocess.DEVNULL)
    assert (out / "lines").read_text().splitlines() == [str(number) * 500 for number in range(40)]
    assert (out / "state").read_text() == "39" * 5000
    assert [name for name in list_folder(out) if not name.endswith(".partial")] == ["lines", "new", "state"]
