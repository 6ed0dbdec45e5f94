"""The three published data sets, from their official addresses to the layouts that `published` reads."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from dalda.datasets.image_folder import ImageDataset
from dalda.datasets.published import read_published
from dalda.errors import UserError
from dalda.progress import progress, say
from dalda.storage import (
    explained,
    list_folder,
    make_folder,
    move,
    open_append,
    open_binary,
    remove,
    remove_empty,
    unfinished,
)
from dalda.terminal import did_you_mean

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/"
CALTECH = "https://data.caltech.edu/records/mzrjq-6wc02/files/"


@dataclass(frozen=True)
class DownloadSource:
    """One file of a data set; `inner` is the archive inside a zip archive that holds the images."""

    url: str
    checksum: str
    inner: str | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


SOURCES = {
    "pets": (
        DownloadSource(OXFORD + "pets/data/images.tar.gz", "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        DownloadSource(OXFORD + "pets/data/annotations.tar.gz", "md5:95a8c909bbe2e81eed6a22bccdf3f68f"),
    ),
    "flowers102": (
        DownloadSource(OXFORD + "flowers/102/102flowers.tgz", "md5:52808999861908f626f3c1f4e79d11fa"),
        DownloadSource(OXFORD + "flowers/102/imagelabels.mat", "md5:e0620be6f572b9609742df49c70aed4d"),
    ),
    "caltech101": (
        DownloadSource(
            CALTECH + "caltech-101.zip",
            "md5:3138e1922a9193bfa496528edbbc45d0",
            inner="101_ObjectCategories.tar.gz",
        ),
    ),
}
"""The official addresses, and the checksums that torchvision publishes for them."""

_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
FETCHED = ".download"
"""Where archives wait, in the data set's folder, until they are unpacked."""

RETRIES = 2
TIMEOUT_SECONDS = (30, 60)
MAX_UNPACKED = 4 * 2**30
MAX_MEMBERS = 200_000
MAX_HEADER = 2**20
"""Bytes of a long name or of extended settings: they are read into memory."""
MEGABYTE = 2**20
CHUNK = 2**16


def download(dataset: str, root: Path, mirror: str | None = None, *, checked: bool = True) -> ImageDataset:
    """Fetches and unpacks what is missing of a published data set, and reads the result.

    `mirror` is an address that serves the same file names. An interrupted download or unpacking
    resumes; files that are there already stay as they are. Raises UserError when a file cannot be
    fetched, has another checksum (unless `checked` is off), or would write outside of `root`.
    """
    if dataset not in SOURCES:
        near = did_you_mean(dataset, SOURCES) or f": choose one of {', '.join(SOURCES)}"
        raise UserError(f"there is no download for '{dataset}'{near}")
    try:
        catalog = read_published(dataset, root)
        say(f"{dataset} is complete in {root}")
    except UserError:
        os.fspath(root)  # an address is refused before anything is fetched
        for source in SOURCES[dataset]:
            with explained(root, "written"):
                archive = _fetch(source, root, mirror, checked)
            _unpack(archive, source, root)
        catalog = read_published(dataset, root)
    # Of a complete data set too: an earlier run may have been killed just here.
    for name in list_folder(root / FETCHED):
        # Beside the archives lie files that pooch had begun when it was killed.
        if name.startswith("tmp") or name in {source.name for source in SOURCES[dataset]}:
            remove(root / FETCHED / name)
    remove_empty(root / FETCHED)
    return catalog


class _Member(tarfile.TarInfo):
    """A member of an archive whose headers cannot fill the memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in (tarfile.GNUTYPE_SPARSE, *_LONG_HEADERS) and self.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]


def _fetch(source: DownloadSource, root: Path, mirror: str | None, checked: bool) -> Path:
    try:
        import pooch
        import requests
    except ImportError as error:
        raise UserError("downloads need the extra 'download': pip install 'dalda[download]'") from error
    url = source.url if mirror is None else f"{mirror.rstrip('/')}/{source.name}"
    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        path=root / FETCHED,
        base_url="",
        registry={source.name: source.checksum if checked else None},
        urls={source.name: url},
        retry_if_failed=RETRIES,
    )
    try:
        return Path(store.fetch(source.name, downloader=_resume))
    except requests.RequestException as error:
        raise UserError(f"{url} cannot be fetched ({error}): run the command again to go on") from error
    except ValueError as error:
        raise UserError(
            f"{url} is not the official file ({source.checksum}): try again, or another mirror"
        ) from error


def _resume(url: str, output_file: str, _: object) -> None:
    """A downloader for pooch that resumes a partial file; pooch's own starts again from zero."""
    import requests

    output = Path(output_file)
    part = output.with_name(url.rsplit("/", 1)[1] + ".part")
    have = part.stat().st_size if part.exists() else 0
    # Without `identity` a server may send an archive as gzip content, which would arrive unpacked.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        # "Range not satisfiable": all of it is there, or it is another file. The checksum will tell.
        if answer.status_code != requests.codes.requested_range_not_satisfiable:
            answer.raise_for_status()
            _write(answer, part, have if answer.status_code == requests.codes.partial_content else 0)
    move(part, output)


def _write(answer: Any, part: Path, have: int) -> None:
    total = have + int(answer.headers.get("Content-Length", 0))
    with open_append(part, keep=have > 0) as file, progress(f"{part.stem}, MB", total // MEGABYTE) as bar:
        bar.advance(have // MEGABYTE)
        for chunk in answer.iter_content(CHUNK):
            before = file.tell()
            file.write(chunk)
            bar.advance(file.tell() // MEGABYTE - before // MEGABYTE)


def _unpack(archive: Path, source: DownloadSource, root: Path) -> None:
    """Puts the plain files of an archive below `root`; a file that is no archive goes there as it is."""
    if archive.suffix == ".mat":
        with open_binary(archive) as stream:
            _put(stream, root / archive.name, archive.stat().st_size, root)
        return
    excluded = 0
    try:
        with (
            _opened(archive, source.inner) as (packed, size),
            tarfile.open(fileobj=packed, mode="r|*", tarinfo=_Member) as tar,
            progress(f"unpacking {archive.name}, MB", size // MEGABYTE) as bar,
        ):
            for member, target in _members(tar, archive, root):
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    _put(content, target, member.size, root)
                excluded += not (member.isfile() or member.isdir())
                bar.advance(packed.tell() // MEGABYTE - bar.done)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{archive} is a broken archive ({error}): delete it and run again") from error
    if excluded:
        say(f"{excluded} links and devices of {archive.name} are skipped")


@contextmanager
def _opened(archive: Path, inner: str | None) -> Iterator[tuple[IO[bytes], int]]:
    if inner is None:
        with open_binary(archive) as stream:
            yield stream, archive.stat().st_size
        return
    with zipfile.ZipFile(archive) as outer:
        entries = [entry for entry in outer.infolist() if PurePosixPath(entry.filename).name == inner]
        if not entries:
            raise UserError(f"{archive} has no {inner} in it: delete it and run the command again")
        with outer.open(entries[0]) as stream:
            yield stream, entries[0].file_size


def _members(tar: tarfile.TarFile, archive: Path, root: Path) -> Iterator[tuple[tarfile.TarInfo, Path]]:
    """Each member with the place below `root` where it belongs."""
    total = 0
    for number, member in enumerate(tar, 1):
        tar.members.clear()  # type: ignore[attr-defined]  # or all are kept in memory
        name = PurePosixPath(member.name)
        # As Windows reads it too: there a backslash and a drive lead elsewhere.
        parts = {*name.parts, *PureWindowsPath(member.name).parts}
        if (
            name.is_absolute()
            or ".." in parts
            or PureWindowsPath(member.name).anchor
            or "\0" in member.name
        ):
            raise UserError(
                f"{archive} wants to write outside of {root} ({member.name!a}): do not trust it"
            )
        total += member.size
        if number > MAX_MEMBERS:
            raise UserError(f"{archive} has more than {MAX_MEMBERS} members: do not trust it")
        if total > MAX_UNPACKED:
            raise UserError(f"{archive} unpacks to more than {MAX_UNPACKED // 2**30} GB: do not trust it")
        yield member, root / name


def _put(content: IO[bytes], target: Path, size: int, root: Path) -> None:
    """Writes one file, whole or not at all; one that is there already is never touched."""
    if target.exists():
        if not target.is_file() or target.stat().st_size != size:
            raise UserError(f"{target} is there but differs from the archive's: move it away and run again")
        return
    make_folder(target.parent, root=root)
    partial = unfinished(target)
    with open_append(partial, keep=False) as file, explained(target, "written"):
        while chunk := content.read(CHUNK):
            file.write(chunk)
    move(partial, target, root=root)
