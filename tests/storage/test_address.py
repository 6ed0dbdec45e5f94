import os
import pickle
from pathlib import Path

import pytest

from dalda.errors import UserError
from dalda.storage import Address, path_of, write
from dalda.storage.failures import NotFound


def test_an_address_is_written_as_it_was_given_and_so_are_the_paths_made_of_it() -> None:
    out = path_of("s3://bucket/more")
    assert isinstance(out, Address)
    assert str(out) == "s3://bucket/more"
    assert str(out / "train" / "a b.png") == "s3://bucket/more/train/a b.png"
    assert str((out / "x.json").with_name("y.json")) == "s3://bucket/more/y.json"
    assert str(out.parent) == "s3://bucket"
    assert (out.name, (out / "x.json").suffix, (out / "x.json").stem) == ("more", ".json", "x")
    assert f"{out}" == out.as_posix() == str(out.absolute()) == str(out.expanduser())
    assert pickle.loads(pickle.dumps(out)) == out
    assert isinstance(pickle.loads(pickle.dumps(out / "x")), Address)


def test_a_path_that_leads_out_of_a_folder_is_seen() -> None:
    out = path_of("s3://bucket/more")
    assert (out / "train/a.png").resolve().is_relative_to(out.resolve())
    assert not (out / "train/../../a.png").resolve().is_relative_to(out.resolve())
    assert not (out / "/etc/passwd").resolve().is_relative_to(out.resolve())


def test_the_system_is_never_asked_for_an_address() -> None:
    out = path_of("s3://bucket/more")
    for use in (os.fspath, open, os.listdir, os.makedirs, Path.mkdir, Path.read_bytes):
        with pytest.raises(UserError, match="'s3://bucket/more' lies in an object store"):
            use(out)


def test_a_folder_is_there_when_something_lies_in_it() -> None:
    out = path_of("memory://tests/address")
    assert isinstance(out, Address)
    assert not out.exists()
    write(out / "synthetic/a/one.json", "1")
    write(out / "synthetic/b.json", "22")
    assert out.is_dir()
    assert not out.is_file()
    assert (out / "synthetic/b.json").is_file()
    assert (out / "synthetic/b.json").stat().st_size == 2
    assert not (out / "synthetic/b").exists()
    assert [(path.name, path.is_dir()) for path in (out / "synthetic").iterdir()] == [
        ("a", True),
        ("b.json", False),
    ]
    assert [str(path) for path in out.glob("synthetic/*/")] == [str(out / "synthetic/a")]
    assert [path.name for path in (out / "synthetic").glob("*.json")] == ["b.json"]
    assert {name: file.stat().st_size for name, file in out.files()} == {
        "synthetic/a/one.json": 1,
        "synthetic/b.json": 2,
    }
    with pytest.raises(NotFound, match="no such file"):
        (out / "no").stat()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ftp://bucket/x", "the address 'ftp://bucket/x' cannot be used"),
        ("s3://", "names no bucket"),
        ("s3:/bucket/x", "lacks a slash; write s3://bucket/x"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        path_of(text)


def test_a_path_stays_a_path() -> None:
    assert path_of("a/b:c") == Path("a/b:c")
    assert not isinstance(path_of("a"), Address)
