"""Whether the images of a folder are those that its metadata says."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dalda.datasets.image_io import sha256_of

READERS = 4


def files_in(train: Path) -> dict[str, os.DirEntry[str]]:
    """The files in the class folders, by the names that the metadata has for them."""
    found: dict[str, os.DirEntry[str]] = {}
    if train.is_dir():
        with os.scandir(train) as folders:
            for folder in folders:
                if folder.is_dir():
                    with os.scandir(folder.path) as files:
                        found.update(
                            (f"{folder.name}/{file.name}", file) for file in files if file.is_file()
                        )
    return found


def changed_images(
    train: Path, metadata: str, records: Sequence[Mapping[str, Any]], *, thorough: bool
) -> list[str]:
    """Names of images that are there, but with other bytes than their records say.

    `thorough` reads all of them; otherwise those of the right size that are older than the metadata, which
    is written after them, are taken to be unchanged.
    """
    files = files_in(train)
    written = (train / metadata).stat().st_mtime_ns if (train / metadata).exists() else 0
    changed, doubtful = [], []
    for record in records:
        file = files.get(str(record.get("file_name")))
        if file is None or "sha256" not in record:
            continue
        state = file.stat()
        if state.st_size != record.get("bytes", state.st_size):
            changed.append(str(record["file_name"]))
        elif thorough or state.st_mtime_ns > written or "bytes" not in record:
            doubtful.append(record)
    with ThreadPoolExecutor(READERS) as pool:
        hashes = pool.map(sha256_of, [train / str(record["file_name"]) for record in doubtful])
    return changed + [
        str(record["file_name"])
        for record, sha256 in zip(doubtful, hashes, strict=True)
        if sha256 != record["sha256"]
    ]
