"""One part of a synthetic set: class folders with images, and the metadata beside them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dalda.datasets.image_io import sha256_of
from dalda.errors import UserError
from dalda.generation.sharding import PART, Shard
from dalda.storage import Address, jsonl, list_folder

METADATA = "metadata.jsonl"
COMPARED = ("request_id", "file_name", "sha256", "bytes")
"""What a record is compared by on resuming."""
READERS = 4
Files = Mapping[str, os.DirEntry[str] | Address]


@dataclass(frozen=True)
class Part:
    """Of the folder `train`, either what lies in it directly or in its folder `name`."""

    train: Path
    name: str = ""

    @property
    def metadata(self) -> Path:
        return self.train / self.name / METADATA

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its records, their files named from train/."""
        for line in jsonl.read(self.metadata):
            yield {**line, "file_name": f"{self.name}/{line.get('file_name')}"} if self.name else line

    def present(self) -> Iterator[dict[str, Any]]:
        """The records whose images are there."""
        files = self.files()
        return (line for line in self.lines() if line.get("file_name") in files)

    def generated(self) -> set[str]:
        """Ids of the requests whose images are there. Raises UserError for images that have changed."""
        files = self.files()
        # Only what is compared stays in memory.
        records = {
            str(line["request_id"]): {name: line.get(name) for name in COMPARED} for line in self.lines()
        }
        self.refuse_changed(list(records.values()), files, thorough=False)
        return {name for name, line in records.items() if line.get("file_name") in files}

    def lies_in(self, part: str) -> bool:
        """Whether all its requests are those of a part, which may be divided into finer ones."""
        finer = bool(self.name) and Shard.of_part(part).includes(Shard.of_part(self.name))
        return finer or self.name == part

    def files(self) -> Files:
        """The files in its class folders, by the names that the records have for them."""
        prefix = f"{self.name}/" if self.name else ""
        if isinstance(self.train, Address):
            return _objects(self.train / self.name, prefix)
        found: dict[str, os.DirEntry[str] | Address] = {}
        if not (self.train / self.name).is_dir():
            return found
        with os.scandir(self.train / self.name) as folders:
            for folder in folders:
                if folder.is_dir() and not PART.fullmatch(folder.name):
                    with os.scandir(folder.path) as files:
                        found.update(
                            (f"{prefix}{folder.name}/{file.name}", file) for file in files if file.is_file()
                        )
        return found

    def refuse_changed(self, records: Sequence[Mapping[str, Any]], files: Files, *, thorough: bool) -> None:
        """Raises UserError for images that are there, but with other bytes than their records say.

        `thorough` reads all of them; otherwise those of the right size that are older than the metadata,
        which is written after them, are taken to be unchanged. Those of an object store are judged by their
        size.
        """
        stored = isinstance(self.train, Address)  # nothing says that an image was touched, but its size
        written = self.metadata.stat().st_mtime_ns if records and not stored else 0
        changed, doubtful = [], []
        for record in records:
            file = files.get(str(record.get("file_name")))
            if file is None or record.get("sha256") is None:
                continue
            state, size = file.stat(), record.get("bytes")
            if size is not None and state.st_size != size:
                changed.append(record)
            elif (thorough and not stored) or state.st_mtime_ns > written or size is None:
                doubtful.append(record)
        with ThreadPoolExecutor(READERS) as pool:
            hashes = pool.map(sha256_of, [self.train / str(record["file_name"]) for record in doubtful])
        pairs = zip(doubtful, hashes, strict=True)
        changed += [record for record, sha256 in pairs if sha256 != record["sha256"]]
        if changed:
            raise UserError(
                f"{len(changed)} of {len(records)} images are no longer those that were generated, such as "
                f"'{self.train / changed[0]['file_name']}'; restore them, or move them away and run dalda "
                "augment again"
            )


def set_parts(train: Path) -> list[Part]:
    """What a set is made of: first what lies in train/ directly, then the parts."""
    return [Part(train, name) for name in ("", *filter(PART.fullmatch, list_folder(train)))]


def divided(part: Part, division: int) -> list[Part]:
    """The parts that a part is divided into; itself where it is not."""
    if division == 1:
        return [part]
    return [Part(part.train, shard.part) for shard in Shard.of_part(part.name).divided(division)]


def _objects(folder: Address, prefix: str) -> Files:
    """By one listing; where there are other parts, by one of each class folder of this part alone."""
    folders = [path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    own = [name for name in folders if not PART.fullmatch(name)]
    if len(own) == len(folders):
        listed = ((name, file) for name, file in folder.files() if "/" in name and name[0] != ".")
    else:
        listed = ((f"{name}/{file}", path) for name in own for file, path in (folder / name).files())
    return {f"{prefix}{name}": file for name, file in listed}
