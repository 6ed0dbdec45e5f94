"""A synthetic set on disk: an image folder with metadata, written so that a stop anywhere is harmless.

An image is written first, whole or not at all; its line in the metadata follows and is flushed. Nothing is
ever deleted, and no file that is there is overwritten by another image.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.generation import set_settings
from dalda.generation.folder_names import folder_name
from dalda.generation.image_encoding import EncodedImage
from dalda.generation.part import METADATA as METADATA
from dalda.generation.part import Part, divided
from dalda.generation.recorded_set import DROPPED as DROPPED
from dalda.generation.recorded_set import TRAIN as TRAIN
from dalda.generation.recorded_set import RecordedSet
from dalda.generation.records import Dropped, Finished, image_of, record_of
from dalda.generation.sharding import part_for
from dalda.storage import Address, lock, make_folder, remove, write_all
from dalda.storage import jsonl as lines
from dalda.types import GenerationRequest, SyntheticImage, as_dict


@dataclass(frozen=True)
class SyntheticDataset(RecordedSet):
    """OUT/train/<class>/<request id>.png, OUT/train/metadata.jsonl and OUT/dalda.yaml.

    Shards, and what a run adds beyond the first 10,000 images, lie in OUT/train/<part>/, in the same form;
    reading joins all.
    """

    settings: Mapping[str, Any] | None = field(default=None, compare=False)
    """What it is opened with to add images."""
    defaults: Mapping[str, Any] | None = field(default=None, compare=False)
    """What a setting was in a folder that was begun before there was such an option."""
    part: str = ""
    """The part that this process adds to."""
    division: int = 1
    """Into how many parts that one is divided."""

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
        part: str = "",
        division: int = 1,
    ) -> "SyntheticDataset":
        """Makes the folder, or opens one that was begun with the same settings.

        A folder without any image or record accepts other settings: the first ones may have been a mistake.
        Raises UserError, naming the difference, for a folder of other settings or of other files, and for
        one that cannot be written.
        """
        dataset = cls(folder, settings, defaults, part, division)
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

    @contextmanager
    def held(self) -> Iterator[None]:
        """While images are added: no other process adds any, and torn last lines are repaired.

        The settings are those that the folder was opened with, whatever happened since.
        Raises UserError if another process is at work here, or the folder cannot be written.
        """
        busy = f"another process is adding to '{self.folder}'; wait for it, or choose another with -o"
        with ExitStack() as locks:
            locks.enter_context(lock(self.folder, busy, shared=bool(self.part)))
            for name in self._locked_folders():
                make_folder(self.folder / TRAIN / name, root=self.folder)
                locks.enter_context(lock(self.folder / TRAIN / name, busy))
            for path in (*(part.metadata for part in self._own()), self._drops):
                lines.fix(path)
            if self.settings is not None and self._has_other_settings():
                set_settings.write_settings(self.folder, self.settings)
            # Known before any work is done: that records can be added here.
            make_folder(self._added[0].metadata.parent, root=self.folder)
            lines.append(self._added[0].metadata, (), root=self.folder)
            yield

    def _locked_folders(self) -> list[str]:
        """What a shard locks: all that it adds to, so that one of another division adds to none of them.

        On an object store, where each lock is a request every few seconds, its own alone.
        """
        finer = [] if isinstance(self.folder, Address) or not self.part else [*self._added, *self._own()]
        return list(dict.fromkeys([self.part, *(part.name for part in finer)])) if self.part else []

    def _own(self) -> list[Part]:
        """The parts with requests of this process alone: of a run without a shard, all."""
        return [part for part in self._parts if part.lies_in(self.part)]

    @property
    def _added(self) -> list[Part]:
        """The parts that this process adds to."""
        return divided(Part(self.folder / TRAIN, self.part), self.division)

    def missing(
        self, requests: Sequence[GenerationRequest], *, retry_dropped: bool = False
    ) -> list[GenerationRequest]:
        """The requests without an image, in order; dropped ones only with `retry_dropped`.

        Images of other requests may be there, as of another seed or of more images per source. Raises
        UserError for images that are not those of their records, and for ones that were generated for the
        same sources in another way.
        """
        done: set[str] = set()
        for part in self._parts:
            done |= part.generated()
        if not retry_dropped:
            done |= {str(line["request_id"]) for line in self.dropped()}
        missing = [request for request in requests if request.id not in done]
        if len(requests) - len(missing) != len(done):
            self._refuse_conflicts(requests)
        return missing

    def _refuse_conflicts(self, requests: Sequence[GenerationRequest]) -> None:
        planned: dict[tuple[str, str, int | None], GenerationRequest] = {
            (request.label, request.source_sha256, request.seed): request for request in requests
        }
        for line in self.lines():
            request = planned.get((line["label"], line["source_sha256"], line.get("seed")))
            if request is None or request.id == line["request_id"] or line.get("retried_for"):
                continue
            wanted = as_dict(request)
            name = next(
                (name for name in wanted if line.get(name, wanted[name]) != wanted[name]), "settings"
            )
            raise UserError(
                f"the output folder '{self.folder}' holds images of the same sources with {name} = "
                f"{str(line.get(name))[:60]}, now it is {str(wanted.get(name))[:60]}; use the settings, "
                "captions and number of shots that it was begun with, or another folder with -o"
            )

    @property
    def _drops(self) -> Path:
        return self.folder / (f"dropped.{self.part}.jsonl" if self.part else DROPPED)

    def add(self, images: Sequence[Finished], dropped: Sequence[Dropped] = ()) -> list[SyntheticImage]:
        """Images first, each whole or not at all; then their lines, flushed; then those of the dropped."""
        records: dict[Path, list[dict[str, Any]]] = {}
        files, added = {}, []
        for image in images:
            encoded = image.image
            part, name = self._place(image.request, encoded.suffix)
            if not encoded.stored:
                files[part / name] = encoded.data
            content = {"sha256": encoded.sha256, "bytes": encoded.stored or len(encoded.data)}
            record = {"file_name": name, **record_of(image), **content, "retried_for": image.retried_for}
            records.setdefault(part / METADATA, []).append(record)
            added.append(image_of(part / name, record))
        write_all(files, root=self.folder)
        for path, new in records.items():
            lines.append(path, new, root=self.folder)
        if dropped:
            new = [{**record_of(record), "reason": record.reason} for record in dropped]
            lines.append(self._drops, new)
        return added

    def _place(self, request: GenerationRequest, suffix: str) -> tuple[Path, str]:
        """The part of a request, and its image's name there."""
        part = self.folder / TRAIN / part_for(request.id, self.part, self.division)
        return part, f"{folder_name(request.label)}/{request.id}{suffix}"

    def store(self, images: Sequence[tuple[GenerationRequest, EncodedImage]]) -> list[EncodedImage]:
        """Only the files, by a worker; returns the images without their bytes, to be added elsewhere."""
        places = [self._place(request, image.suffix) for request, image in images]
        files = {part / name: image.data for (part, name), (_, image) in zip(places, images, strict=True)}
        write_all(files, root=self.folder)
        return [replace(image, data=b"", stored=len(image.data)) for _, image in images]

    def take_back(self, request: GenerationRequest, image: EncodedImage) -> None:
        """Removes what a worker has stored, and what is not kept."""
        part, name = self._place(request, image.suffix)
        remove(part / name)

    def settle(self, order: Iterable[GenerationRequest]) -> None:
        """Puts the records into the plan's order, so that no interruption can be seen in them."""
        place = {request.id: index for index, request in enumerate(order)}
        for part in self._own():
            lines.put_in_order(part.metadata, place)
        lines.put_in_order(self._drops, place, without=self._generated())

    def is_settled(self, order: Iterable[GenerationRequest]) -> bool:
        """Whether `settle` would change nothing."""
        place = {request.id: index for index, request in enumerate(order)}
        drops = self._drops
        return all(lines.are_in_order(part.metadata, place) for part in self._own()) and lines.are_in_order(
            drops, place, without=self._generated()
        )

    def _generated(self) -> set[str]:
        """Ids of dropped requests that have an image after all."""
        dropped = {str(line["request_id"]) for line in lines.read(self._drops)}
        return dropped & {str(line["request_id"]) for line in self.lines()} if dropped else set()

    def remember(self, section: str, values: Mapping[str, Any]) -> None:
        """Records values in a section of the settings that may differ from one run to the next."""
        set_settings.remember(self.folder, section, values)
