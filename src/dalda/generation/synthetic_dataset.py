"""A synthetic set on disk: an image folder with metadata, written so that a stop anywhere is harmless.

An image is written first, whole or not at all; its line in the metadata follows and is flushed. Nothing is
ever deleted, and no file that is there is overwritten by another image.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.generation import set_settings
from dalda.generation.checks import changed_images, files_in
from dalda.generation.folder_names import folder_name
from dalda.generation.records import Dropped, Finished, image_of, record_of
from dalda.generation.sharding import PART
from dalda.progress import say
from dalda.storage import jsonl as lines
from dalda.storage import list_folder, lock, make_folder, write_all
from dalda.types import GenerationRequest, SyntheticImage, as_dict

TRAIN = "train"
METADATA = "metadata.jsonl"
DROPPED = "dropped.jsonl"
COMPARED = ("request_id", "label", "source_sha256", "seed", "retried_for", "file_name", "sha256", "bytes")
"""What a record is compared by on resuming."""
THOROUGH = 20_000
"""Images up to which all are read when a set is used; of more, those that were touched since."""


@dataclass(frozen=True)
class SyntheticDataset:
    """OUT/train/<class>/<request id>.png, OUT/train/metadata.jsonl and OUT/dalda.yaml.

    A shard has images and metadata of its own in OUT/train/<part>/, in the same form; reading joins all.
    """

    folder: Path
    settings: Mapping[str, Any] | None = field(default=None, compare=False)
    """What it is opened with to add images."""
    defaults: Mapping[str, Any] | None = field(default=None, compare=False)
    """What a setting was in a folder that was begun before there was such an option."""
    part: str = ""
    """The part that this process adds to."""

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
        part: str = "",
    ) -> "SyntheticDataset":
        """Makes the folder, or opens one that was begun with the same settings.

        A folder without any image or record accepts other settings: the first ones may have been a mistake.
        Raises UserError, naming the difference, for a folder of other settings or of other files, and for
        one that cannot be written.
        """
        dataset = cls(folder, settings, defaults, part)
        set_settings.begin(folder, settings)
        dataset._has_other_settings()
        make_folder(folder / TRAIN / part, root=folder)
        return dataset

    def _has_other_settings(self) -> bool:
        """Whether the folder is empty and has other settings. Raises UserError for one with images."""
        if self.settings is None:
            return False
        recorded = set_settings.read_settings(self.folder)
        try:
            set_settings.refuse_other(self.folder, recorded, self.settings, self.defaults)
        except UserError:
            if not self.is_empty():
                raise
            return True
        return False

    @classmethod
    def existing(cls, folder: Path) -> "SyntheticDataset":
        """A finished or unfinished folder, to be read. Raises UserError for any other folder."""
        set_settings.read_settings(folder)
        return cls(folder)

    def is_empty(self) -> bool:
        """Whether there is no image and no record yet."""
        return not (next(self.lines(), None) or self.dropped() or files_in(self.folder / TRAIN))

    @contextmanager
    def held(self) -> Iterator[None]:
        """While images are added: no other process adds any, and torn last lines are repaired.

        The settings are those that the folder was opened with, whatever happened since.
        Raises UserError if another process is at work here, or the folder cannot be written.
        """
        train = self.folder / TRAIN
        busy = f"another process is adding to '{self.folder}'; wait for it, or choose another with -o"
        own = lock(train / self.part, busy) if self.part else nullcontext()
        with lock(self.folder, busy, shared=bool(self.part)), own:
            for path in self._records():
                lines.fix(path)
            if self.settings is not None and self._has_other_settings():
                set_settings.write_settings(self.folder, self.settings)
            # Known before any work is done: that records can be added here.
            lines.append(self._records()[0], (), root=self.folder)
            yield

    def missing(
        self, requests: Sequence[GenerationRequest], *, retry_dropped: bool = False
    ) -> list[GenerationRequest]:
        """The requests without an image, in order; dropped ones only with `retry_dropped`.

        Images of other requests may be there, as of another seed or of more images per source. Raises
        UserError for images that are not those of their records, and for ones that were generated for the
        same sources in another way.
        """
        # Of a million records, only what is compared stays in memory.
        records = {
            str(line["request_id"]): {name: line.get(name) for name in COMPARED} for line in self.lines()
        }
        files = files_in(self.folder / TRAIN)
        self._refuse_changed(list(records.values()), thorough=False)
        done = {name for name, line in records.items() if line.get("file_name") in files}
        if not retry_dropped:
            done |= {str(line["request_id"]) for line in self.dropped()}
        missing = [request for request in requests if request.id not in done]
        if len(requests) - len(missing) != len(done):
            self._refuse_conflicts(records, requests)
        return missing

    def _refuse_conflicts(
        self, records: Mapping[str, Mapping[str, Any]], requests: Sequence[GenerationRequest]
    ) -> None:
        planned = {(request.label, request.source_sha256, request.seed): request for request in requests}
        for line in records.values():
            request = planned.get((line["label"], line["source_sha256"], line["seed"]))
            if request is None or request.id == line["request_id"] or line.get("retried_for"):
                continue
            line = next(full for full in self.lines() if full["request_id"] == line["request_id"])
            wanted = as_dict(request)
            name = next(
                (name for name in wanted if line.get(name, wanted[name]) != wanted[name]), "settings"
            )
            raise UserError(
                f"the output folder '{self.folder}' holds images of the same sources with {name} = "
                f"{str(line.get(name))[:60]}, now it is {str(wanted.get(name))[:60]}; use the settings, "
                "captions and number of shots that it was begun with, or another folder with -o"
            )

    def hashes(self) -> set[str]:
        """Of the files of all images; one that was lost may be generated again."""
        files = files_in(self.folder / TRAIN)
        return {str(line.get("sha256")) for line in self.lines() if line.get("file_name") in files}

    def lines(self) -> Iterator[dict[str, Any]]:
        """The records of all parts, their files named from train/."""
        for part in self.parts():
            for line in lines.read(self.folder / TRAIN / part / METADATA):
                yield {**line, "file_name": f"{part}/{line.get('file_name')}"} if part else line

    def dropped(self) -> list[dict[str, Any]]:
        """The dropped requests of all parts with their reasons."""
        return [line for part in self.parts() for line in lines.read(self._drops(part))]

    def parts(self) -> list[str]:
        """What the set is made of: that of runs without a shard (an empty name), then the shards'."""
        return ["", *filter(PART.fullmatch, list_folder(self.folder / TRAIN))]

    def finished(self) -> set[str]:
        """Ids of the requests that need no more work: with an image, or dropped with a reason."""
        files = files_in(self.folder / TRAIN)
        done = {str(line["request_id"]) for line in self.lines() if line.get("file_name") in files}
        return done | {str(line["request_id"]) for line in self.dropped()}

    def reasons(self) -> tuple[Counter[str], Counter[str]]:
        """How many images were generated a second time, and how many dropped, for which reasons."""
        retried = {line["request_id"]: line.get("retried_for") for line in self.lines()}
        dropped = {line["request_id"]: line.get("reason") for line in self.dropped()}
        return Counter(filter(None, retried.values())), Counter(map(str, dropped.values()))

    def synthetic_images(self) -> list[SyntheticImage]:
        """Every image; of a request with several lines, the last counts.

        Says so if fewer are there than were planned. Raises UserError for an image that is missing, changed
        or outside the folder.
        """
        images = [image_of(self.path_of(line), line) for line in self.records().values()]
        self._say_incomplete(len(images))
        return images

    def records(self) -> dict[str, dict[str, Any]]:
        """The last record of each image, by request id, once every image was found unchanged.

        Raises UserError as `synthetic_images` does.
        """
        records = {str(line["request_id"]): line for line in self.lines()}
        files = files_in(self.folder / TRAIN)
        paths = {str(line.get("file_name")): self.path_of(line) for line in records.values()}
        lost = [path for name, path in paths.items() if name not in files and not path.is_file()]
        if lost:
            raise UserError(
                f"{len(lost)} of {len(records)} images that the metadata names are missing, such as "
                f"'{lost[0]}'; run dalda augment again"
            )
        self._refuse_changed(list(records.values()), thorough=len(records) <= THOROUGH)
        return records

    def _refuse_changed(self, records: Sequence[Mapping[str, Any]], *, thorough: bool) -> None:
        changed = changed_images(self.folder / TRAIN, METADATA, records, thorough=thorough)
        if changed:
            raise UserError(
                f"{len(changed)} of {len(records)} images are no longer those that were generated, such as "
                f"'{self.folder / TRAIN / changed[0]}'; restore them, or move them away and run dalda "
                "augment again"
            )

    def _say_incomplete(self, images: int) -> None:
        planned = self.extent().get("planned")
        dropped = len({line["request_id"] for line in self.dropped()})
        if isinstance(planned, int) and images + dropped < planned:
            say(
                f"note: '{self.folder}' holds {images} of {planned} planned images ({dropped} were "
                "dropped); run dalda augment again for the others"
            )

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

    def _records(self) -> tuple[Path, Path]:
        return self.folder / TRAIN / self.part / METADATA, self._drops(self.part)

    def _drops(self, part: str) -> Path:
        return self.folder / (f"dropped.{part}.jsonl" if part else DROPPED)

    def add(self, images: Sequence[Finished], dropped: Sequence[Dropped] = ()) -> list[SyntheticImage]:
        """Images first, each whole or not at all; then their lines, flushed; then those of the dropped."""
        records, files = [], {}
        for image in images:
            name = f"{folder_name(image.request.label)}/{image.request.id}{image.image.suffix}"
            files[self.folder / TRAIN / self.part / name] = image.image.data
            content: dict[str, Any] = {"sha256": image.image.sha256, "bytes": len(image.image.data)}
            records.append(
                {"file_name": name, **record_of(image), **content, "retried_for": image.retried_for}
            )
        write_all(files, root=self.folder)
        metadata, drops = self._records()
        if records:
            lines.append(metadata, records, root=self.folder)
        if dropped:
            lines.append(drops, [{**record_of(record), "reason": record.reason} for record in dropped])
        train = self.folder / TRAIN / self.part
        return [image_of(train / record["file_name"], record) for record in records]

    def settle(self, order: Iterable[GenerationRequest]) -> None:
        """Puts the records into the plan's order, so that no interruption can be seen in them."""
        place = {request.id: index for index, request in enumerate(order)}
        metadata, drops = self._records()
        lines.put_in_order(metadata, place)
        lines.put_in_order(drops, place, without=self._generated())

    def is_settled(self, order: Iterable[GenerationRequest]) -> bool:
        """Whether `settle` would change nothing."""
        place = {request.id: index for index, request in enumerate(order)}
        metadata, drops = self._records()
        return lines.are_in_order(metadata, place) and lines.are_in_order(
            drops, place, without=self._generated()
        )

    def _generated(self) -> set[str]:
        """Ids of dropped requests that have an image after all."""
        if next(lines.read(self._records()[1]), None) is None:
            return set()
        return {str(line["request_id"]) for line in self.lines()}

    def execution(self) -> dict[str, Any]:
        """How images were generated so far: what may differ from one run to the next."""
        return set_settings.read_section(self.folder, "execution")

    def extent(self) -> dict[str, Any]:
        """How much was planned so far: what may grow from one run to the next."""
        return set_settings.read_section(self.folder, "extent")

    def remember(self, section: str, values: Mapping[str, Any]) -> None:
        """Records values in a section of the settings that may differ from one run to the next."""
        set_settings.remember(self.folder, section, values)
