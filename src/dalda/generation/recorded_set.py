"""A synthetic set as it is on disk, to be read part by part."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from dalda.errors import UserError
from dalda.generation import set_settings
from dalda.generation.part import Files, Part, set_parts
from dalda.generation.records import image_of
from dalda.generation.sharding import PART
from dalda.progress import say
from dalda.storage import jsonl, list_folder
from dalda.types import SyntheticImage

TRAIN = "train"
DROPPED = "dropped.jsonl"
DROPS = re.compile(rf"dropped\.({PART.pattern}\.)?jsonl")
"""The dropped requests of runs without a shard, and of each shard."""
UNSHARED = ("file_name", "request_id", "sha256")
"""Text that no two records have in common."""
THOROUGH = 20_000
"""Images up to which all are read when a set is used; of more, those that were touched since."""


@dataclass(frozen=True)
class RecordedSet:
    """The images of OUT/train/ and what their records say, one part at a time in memory."""

    folder: Path

    @classmethod
    def existing(cls, folder: Path) -> Self:
        """A finished or unfinished folder, to be read. Raises UserError for any other folder."""
        set_settings.read_settings(folder)
        return cls(folder)

    def is_empty(self) -> bool:
        """Whether there is no image and no record yet."""
        if next(self.lines(), None) or self.dropped():
            return False
        return not any(part.files() for part in self._parts)

    @property
    def _parts(self) -> list[Part]:
        return set_parts(self.folder / TRAIN)

    def hashes(self) -> set[str]:
        """Of the files of all images; one that was lost may be generated again."""
        return {str(line.get("sha256")) for line in self._present()}

    def _present(self) -> Iterator[dict[str, Any]]:
        """The records whose images are there."""
        return (line for part in self._parts for line in part.present())

    def lines(self) -> Iterator[dict[str, Any]]:
        """The records of all parts, their files named from train/."""
        return (line for part in self._parts for line in part.lines())

    def dropped(self) -> list[dict[str, Any]]:
        """The dropped requests of all parts with their reasons."""
        names = filter(DROPS.fullmatch, list_folder(self.folder))
        return [line for name in names for line in jsonl.read(self.folder / name)]

    def finished(self) -> set[str]:
        """Ids of the requests that need no more work: with an image, or dropped with a reason."""
        done = {str(line["request_id"]) for line in self._present()}
        return done | {str(line["request_id"]) for line in self.dropped()}

    def reasons(self) -> tuple[Counter[str], Counter[str]]:
        """How many images were generated a second time, and how many dropped, for which reasons."""
        retried: dict[str, str] = {}
        for line in self.lines():
            retried.pop(line["request_id"], None)
            if line.get("retried_for"):
                retried[line["request_id"]] = line["retried_for"]
        dropped = {line["request_id"]: line.get("reason") for line in self.dropped()}
        return Counter(retried.values()), Counter(map(str, dropped.values()))

    def synthetic_images(self) -> list[SyntheticImage]:
        """Every image; of a request with several lines, the last counts.

        Says so if fewer are there than were planned. Raises UserError for an image that is missing, changed
        or outside the folder.
        """
        images = [image_of(self.folder / TRAIN / str(line["file_name"]), line) for line in self.records()]
        self._say_incomplete(len(images))
        return images

    def records(self) -> Iterator[dict[str, Any]]:
        """The record of each image, the last one of its part, once all of the part were found unchanged.

        Raises UserError as `synthetic_images` does.
        """
        known: set[str] = set()
        lost: dict[str, Path] = {}
        for part in self._parts:
            records = {str(line["request_id"]): shared(line) for line in part.lines()}
            files = part.files()
            paths = self._paths(records, files)
            thorough = len(known) + len(records) <= THOROUGH
            part.refuse_changed(list(records.values()), files, thorough=thorough)
            for name, line in records.items():
                if line["file_name"] not in files and not paths[name].is_file():
                    lost[name] = paths[name]
                elif name not in known:
                    known.add(name)
                    yield line
        lost = {name: path for name, path in lost.items() if name not in known}
        if lost:
            raise UserError(
                f"{len(lost)} of {len(lost) + len(known)} images that the metadata names are missing, such "
                f"as '{next(iter(lost.values()))}'; run dalda augment again"
            )

    def _say_incomplete(self, images: int) -> None:
        planned = self.extent().get("planned")
        dropped = len({line["request_id"] for line in self.dropped()})
        if isinstance(planned, int) and images + dropped < planned:
            say(
                f"note: '{self.folder}' holds {images} of {planned} planned images ({dropped} were "
                "dropped); run dalda augment again for the others"
            )

    def _paths(self, records: Mapping[str, Mapping[str, Any]], files: Files) -> dict[str, Path]:
        """Where the images are, as `path_of` says; of a class folder's plain files, one is looked at."""
        folders: set[str] = set()
        paths = {}
        for request_id, line in records.items():
            name = str(line.get("file_name"))
            file, folder = files.get(name), name.rpartition("/")[0]
            plain = file is not None and not file.is_symlink()
            paths[request_id] = (
                self.folder / TRAIN / name if plain and folder in folders else self.path_of(line)
            )
            if plain:
                folders.add(folder)
        return paths

    def path_of(self, line: Mapping[str, Any]) -> Path:
        """Where a record's image is; refuses a name, or a link, that leads out of the folder."""
        name = str(line.get("file_name", ""))
        path = self.folder / TRAIN / name
        if not name or "\0" in name or not path.resolve().is_relative_to(self._resolved):
            raise UserError(
                f"the metadata in '{self.folder}' names a file outside it: {name!r}; take that line out"
            )
        return path

    @cached_property
    def _resolved(self) -> Path:
        return (self.folder / TRAIN).resolve()

    def execution(self) -> dict[str, Any]:
        """How images were generated so far: what may differ from one run to the next."""
        return set_settings.read_section(self.folder, "execution")

    def extent(self) -> dict[str, Any]:
        """How much was planned so far: what may grow from one run to the next."""
        return set_settings.read_section(self.folder, "extent")


def shared(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with one copy in memory of each text that many records have."""
    return {
        sys.intern(key): sys.intern(value) if type(value) is str and key not in UNSHARED else value
        for key, value in record.items()
    }
