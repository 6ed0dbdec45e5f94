"""Whether the images of a folder are those that its metadata says."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dalda.datasets.image_io import sha256_of
from dalda.generation.sharding import PART
from dalda.storage import Address

READERS = 4


def files_in(train: Path, prefix: str = "") -> Mapping[str, os.DirEntry[str] | Address]:
    """The files in the class folders, by the names that the records have for them."""
    if isinstance(train, Address):
        return {name: file for name, file in train.files() if "/" in name and name[0] != "."}
    found: dict[str, os.DirEntry[str] | Address] = {}
    if not train.is_dir():
        return found
    with os.scandir(train) as folders:
        for folder in folders:
            if PART.fullmatch(folder.name):
                found |= files_in(Path(folder.path), f"{folder.name}/")
            elif folder.is_dir():
                with os.scandir(folder.path) as files:
                    found.update(
                        (f"{prefix}{folder.name}/{file.name}", file) for file in files if file.is_file()
                    )
    return found


def shard_of(file_name: object) -> str:
    """The part that a record is of, `part-1-of-4/` or nothing, by its file's name."""
    first = str(file_name).partition("/")[0]
    return f"{first}/" if PART.fullmatch(first) else ""


def changed_images(
    train: Path, metadata: str, records: Sequence[Mapping[str, Any]], *, thorough: bool
) -> list[str]:
    """Names of images that are there, but with other bytes than their records say.

    `thorough` reads all of them; otherwise those of the right size that are older than the metadata, which
    is written after them, are taken to be unchanged. Those of an object store are judged by their size.
    """
    files = files_in(train)
    parts = {shard_of(record.get("file_name")) for record in records}
    stored = isinstance(train, Address)  # where nothing says that an image was touched, but its size
    written = {part: 0 if stored else (train / part / metadata).stat().st_mtime_ns for part in parts}
    changed, doubtful = [], []
    for record in records:
        file = files.get(str(record.get("file_name")))
        if file is None or record.get("sha256") is None:
            continue
        state = file.stat()
        size = record.get("bytes")
        if size is not None and state.st_size != size:
            changed.append(str(record["file_name"]))
        elif (
            (thorough and not stored)
            or state.st_mtime_ns > written[shard_of(record["file_name"])]
            or size is None
        ):
            doubtful.append(record)
    with ThreadPoolExecutor(READERS) as pool:
        hashes = pool.map(sha256_of, [train / str(record["file_name"]) for record in doubtful])
    return changed + [
        str(record["file_name"])
        for record, sha256 in zip(doubtful, hashes, strict=True)
        if sha256 != record["sha256"]
    ]
