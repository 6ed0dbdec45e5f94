"""The real archives are large and far away: small ones of their layout come from a loopback server."""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.datasets.archives import (
    Entries,
    Mirror,
    caltech_files,
    flowers_files,
    noise,
    offer,
    packed,
    pets_files,
    serving,
)

from dalda.datasets import download as module
from dalda.datasets.class_names import published_classes
from dalda.datasets.download import SOURCES, download
from dalda.errors import UserError

pytest.importorskip("pooch")


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setattr(module, "RETRIES", 0)
    with serving() as shown:
        yield shown


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("dataset", "files", "images"),
    [("pets", pets_files, 74), ("flowers102", flowers_files, 102), ("caltech101", caltech_files, 101)],
)
def test_a_data_set_arrives_whole_and_leaves_no_archives(
    tmp_path: Path,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dataset: str,
    files: Callable[[], dict[str, bytes]],
    images: int,
) -> None:
    offer(mirror, monkeypatch, dataset, files())
    root = tmp_path / "new" / dataset
    catalog = download(dataset, root, mirror.address)
    assert (catalog.dataset, catalog.classes) == (dataset, published_classes(dataset))
    assert sum(name.endswith(".jpg") for name in tree(root)) == images
    assert not (root / ".download").exists()
    assert mirror.asked == [(source.name, None) for source in SOURCES[dataset]]
    assert capsys.readouterr().out == ""
    download(dataset, root, mirror.address)
    assert len(mirror.asked) == len(SOURCES[dataset])
    assert "is complete" in capsys.readouterr().err


def test_a_broken_off_download_goes_on(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files({"images/large.bin": noise("large", 3 * 2**20)}))
    mirror.breaks_after = 100_000
    with pytest.raises(
        UserError, match=r"images\.tar\.gz cannot be fetched .*run the command again to go on"
    ):
        download("pets", tmp_path, mirror.address)
    assert (tmp_path / ".download" / "images.tar.gz.part").stat().st_size == 2**16
    download("pets", tmp_path, mirror.address)
    assert mirror.asked == [
        ("images.tar.gz", None),
        ("images.tar.gz", "bytes=65536-"),
        ("annotations.tar.gz", None),
    ]
    progress = capsys.readouterr().err
    assert progress.startswith("images.tar.gz, MB: 3 of 3 in")
    assert "unpacking images.tar.gz, MB: 3 of 3 in" in progress


def test_a_download_killed_just_before_its_end_needs_no_byte_more(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files())
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download" / "images.tar.gz.part").write_bytes(mirror.files["images.tar.gz"])
    (tmp_path / ".download/tmp5nhu9cli").write_bytes(b"begun by pooch")
    assert len(download("pets", tmp_path, mirror.address).classes) == 37
    assert not (tmp_path / ".download").exists()


def test_archives_of_a_run_killed_while_it_removed_them_are_removed(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files())
    download("pets", tmp_path, mirror.address)
    (tmp_path / ".download").mkdir()
    (tmp_path / ".download/annotations.tar.gz").write_bytes(b"unpacked before")
    (tmp_path / ".download/tmp5nhu9cli").write_bytes(b"begun by pooch")
    download("pets", tmp_path, mirror.address)
    assert not (tmp_path / ".download").exists()


def test_an_unpacking_killed_half_way_goes_on_and_touches_nothing(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files())
    whole, half = tmp_path / "whole", tmp_path / "half"
    download("pets", whole, mirror.address)
    real, calls = module._put, []

    def killed(*args: object) -> None:
        calls.append(args)
        if len(calls) == 20:
            raise KeyboardInterrupt
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_put", killed)
    with pytest.raises(KeyboardInterrupt):
        download("pets", half, mirror.address)
    monkeypatch.setattr(module, "_put", real)
    before = {path: path.stat().st_mtime_ns for path in half.glob("images/*.jpg")}
    mirror.asked.clear()
    download("pets", half, mirror.address)
    assert tree(half) == tree(whole)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert mirror.asked == [("annotations.tar.gz", None)]


def test_another_checksum_is_refused_unless_not_asked_for(tmp_path: Path, mirror: Mirror) -> None:
    mirror.files = pets_files()
    with pytest.raises(UserError, match=r"images\.tar\.gz is not the official file \(md5:5c4f3ee8"):
        download("pets", tmp_path, mirror.address)
    assert not list(tmp_path.glob("images"))
    assert len(download("pets", tmp_path, mirror.address, checked=False).classes) == 37


def link(name: str, kind: bytes, to: str = "") -> Entries:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return {name: member}


@pytest.mark.parametrize(
    "name",
    ["../outside.jpg", "/outside.jpg", "images/../../outside.jpg", "..\\outside.jpg", "C:\\outside.jpg"],
)
def test_no_path_escapes(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files({name: b"mine"}))
    with pytest.raises(UserError, match="wants to write outside"):
        download("pets", tmp_path / "root", mirror.address)
    assert not list(tmp_path.glob("outside*"))
    assert not Path("/outside.jpg").exists()


def test_links_and_devices_are_left_out(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside").mkdir()
    odd = link("images/away", tarfile.SYMTYPE, "../../outside") | {"images/away/x.jpg": b"through the link"}
    odd |= link("images/hard", tarfile.LNKTYPE, "images/beagle_1.jpg") | link(
        "images/null", tarfile.CHRTYPE
    )
    offer(mirror, monkeypatch, "pets", pets_files(odd))
    root = tmp_path / "root"
    download("pets", root, mirror.address)
    assert not list((tmp_path / "outside").iterdir())
    assert not any(path.is_symlink() for path in root.rglob("*"))
    assert not (root / "images" / "null").exists()
    assert "3 links and devices of images.tar.gz are skipped" in capsys.readouterr().err


def test_an_archive_that_swells_is_refused(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files({"images/zeros.jpg": bytes(200_000)}))
    monkeypatch.setattr(module, "MAX_UNPACKED", 100_000)
    with pytest.raises(UserError, match="unpacks to more than"):
        download("pets", tmp_path, mirror.address)
    assert not (tmp_path / "images" / "zeros.jpg").exists()


def test_an_archive_of_endless_members_is_refused(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files({f"images/more{n}.jpg": b"" for n in range(60)}))
    monkeypatch.setattr(module, "MAX_MEMBERS", 50)
    with pytest.raises(UserError, match="has more than 50 members"):
        download("pets", tmp_path, mirror.address)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_a_header_that_fills_the_memory_is_refused(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    """A kilobyte of gzip that says: here comes a name of two gigabytes."""
    member = tarfile.TarInfo("long")
    member.type, member.size = kind, 2 * 2**30
    files = pets_files()
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="w") as packed:
        packed.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(4 * 2**20))
    offer(mirror, monkeypatch, "pets", {**files, "images.tar.gz": stream.getvalue()})
    with pytest.raises(UserError, match=r"images\.tar\.gz is a broken archive"):
        download("pets", tmp_path, mirror.address)


def test_a_file_of_the_user_is_never_overwritten(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(mirror, monkeypatch, "pets", pets_files())
    mine = tmp_path / "images" / "beagle_1.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"my own beagle")
    with pytest.raises(UserError, match=r"beagle_1\.jpg is there but differs"):
        download("pets", tmp_path, mirror.address)
    assert mine.read_bytes() == b"my own beagle"


@pytest.mark.parametrize("content", [b"no archive", packed({"images/a.jpg": noise("a", 9000)})[:4000]])
def test_a_broken_archive_is_named(tmp_path: Path, mirror: Mirror, content: bytes) -> None:
    mirror.files = {"images.tar.gz": content}
    with pytest.raises(UserError, match=r"images\.tar\.gz is a broken archive"):
        download("pets", tmp_path, mirror.address, checked=False)


def test_a_failed_download_is_explained(tmp_path: Path, mirror: Mirror) -> None:
    with pytest.raises(UserError, match=r"images\.tar\.gz cannot be fetched \(404"):
        download("pets", tmp_path, mirror.address)
    with pytest.raises(UserError, match="cannot be fetched"):
        download("pets", tmp_path, f"file://{tmp_path}")
    with pytest.raises(UserError, match="no download for 'doodles': choose one of pets, flowers102"):
        download("doodles", tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file' cannot be written"):
        download("pets", tmp_path / "file", mirror.address)


def test_the_official_addresses_are_encrypted_and_checked() -> None:
    for source in (source for sources in SOURCES.values() for source in sources):
        assert source.url.startswith("https://")
        assert len(source.checksum) == len("md5:") + 32
