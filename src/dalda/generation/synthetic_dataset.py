"""The finished folder: an image folder with metadata, written so that a stop anywhere is harmless.

An image is written first, whole or not at all; its line in the metadata follows and is flushed. A
torn last line is dropped, and its request is done again. Nothing is ever deleted.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dalda.config.roles import difference
from dalda.errors import UserError
from dalda.generation.image_encoding import Encoded
from dalda.storage import exists, list_folder, lock, make_folder, read_yaml, to_yaml, unfinished, write
from dalda.storage import jsonl as lines
from dalda.types import GenerationRequest, SyntheticImage

SETTINGS = "dalda.yaml"
CONTENTS = "contents"
"""Settings that stand for others, by their dotted names: hashes of folders, which may lie anywhere."""
RECORDED_ONLY = frozenset({"versions", "rendering", CONTENTS})
"""Settings that are kept for the reader, and may differ from one run to the next."""
TRAIN = "train"
METADATA = "metadata.jsonl"
DROPPED = "dropped.jsonl"


def folder_name(label: str) -> str:
    """A class's folder: its name with everything unsafe replaced, readable and never a path.

    Two names that would meet in one folder are told apart by a hash of the name.
    """
    safe = re.sub(r"[^\w .,()+-]", "_", unicodedata.normalize("NFC", label)).strip(" .")
    if safe == label and not label.startswith(("-", METADATA)) and len(label.encode()) <= 120:
        return label
    digest = hashlib.sha256(label.encode()).hexdigest()[:8]
    return f"{safe.encode()[:100].decode(errors='ignore').strip(' .') or 'class'}-{digest}"


@dataclass(frozen=True)
class Finished:
    """A request's image, as it is to be kept."""

    request: GenerationRequest
    image: Encoded
    seed: int | None
    """The seed that the image was really made with; None where nobody knows it."""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    """What its record says of the model and the batch, beside its request."""
    rendered_again: str | None = None
    """What was wrong with the image of the request's own seed, if anything."""


@dataclass(frozen=True)
class Dropped:
    """A request whose image is not kept."""

    request: GenerationRequest
    reason: str
    seed: int | None
    made_with: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SyntheticDataset:
    """One synthetic set on disk: OUT/train/<class>/<id>.png, its metadata and OUT/dalda.yaml."""

    folder: Path

    @classmethod
    def open(
        cls, folder: Path, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> "SyntheticDataset":
        """Makes the folder, or goes on with one that was begun with the same settings.

        A setting that an older folder lacks was the default.
        One in which nothing was made yet is begun anew with other settings: they may be the fixed ones.
        Raises UserError, naming the difference, for a folder of other settings or of other things,
        and for one that cannot be written.
        """
        store = cls(folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"the output '{folder}' is a file, not a folder; choose another with -o")
        if not exists(folder / SETTINGS):
            if any(name != unfinished(folder / SETTINGS).name for name in list_folder(folder)):
                raise UserError(
                    f"the output folder '{folder}' holds files that dalda did not make; "
                    "choose a new or empty folder with -o"
                )
            make_folder(folder)
            write(folder / SETTINGS, to_yaml(settings))
        kept = read_settings(folder)
        try:
            refuse_other(folder, _by_content(kept), _by_content(settings), RECORDED_ONLY, defaults)
        except UserError:
            if not store._is_bare():
                raise
            with lock(folder, _busy(folder)):
                write(folder / SETTINGS, to_yaml(settings))
        make_folder(folder / TRAIN, root=folder)
        return store

    @classmethod
    def existing(cls, folder: Path) -> "SyntheticDataset":
        """A finished or unfinished folder, to be read. Raises UserError when it is not one."""
        read_settings(folder)
        return cls(folder)

    def _is_bare(self) -> bool:
        """Whether there is no image and no record yet."""
        if any(path.exists() and path.stat().st_size for path in self._records()):
            return False
        return not (self.folder / TRAIN).exists() or not self._images()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While images are added: no other process adds any, and torn last lines are fixed.

        Raises UserError when another process is at work here, or the folder cannot be written.
        """
        with lock(self.folder, _busy(self.folder)):
            for path in self._records():
                lines.fix(path)
            # Known before any work is done: that records can be added here.
            lines.append(self.folder / TRAIN / METADATA, (), root=self.folder)
            yield

    def finished(self) -> set[str]:
        """Ids of the requests that need no more work: generated, or dropped with a reason."""
        there = self._images()
        done = {str(line["request_id"]) for line in self.lines() if line.get("file_name") in there}
        return done | {str(line["request_id"]) for line in self.dropped()}

    def hashes(self) -> set[str]:
        """Of the files of all finished images; a image that was lost may be made again."""
        there = self._images()
        return {str(line.get("sha256")) for line in self.lines() if line.get("file_name") in there}

    def lines(self) -> Iterator[dict[str, Any]]:
        """The metadata's records, as written."""
        yield from lines.read(self.folder / TRAIN / METADATA)

    def dropped(self) -> list[dict[str, Any]]:
        """The dropped requests with their reasons."""
        return list(lines.read(self.folder / DROPPED))

    def faults(self) -> tuple[Counter[str], Counter[str]]:
        """How many images were rendered again, and how many dropped, for which reasons."""
        again = {line["request_id"]: line.get("rendered_again") for line in self.lines()}
        dropped = {line["request_id"]: line.get("reason") for line in self.dropped()}
        return Counter(str(reason) for reason in again.values() if reason), Counter(
            map(str, dropped.values())
        )

    def samples(self) -> list[SyntheticImage]:
        """Every finished image, of a request with several lines the last. Raises UserError for one that is
        named but missing, or lies outside the folder."""
        samples: dict[str, SyntheticImage] = {}
        for line in self.lines():
            samples[line["request_id"]] = SyntheticImage(
                path=self._path(line),
                label=line["label"],
                source=Path(line["source"]),
                source_sha256=line["source_sha256"],
                repeat=line["repeat"],
                request_id=line["request_id"],
                prompt=line["prompt"],
                ip_adapter_scale=line["ip_adapter_scale"],
                source_clip_probability=line["source_clip_probability"],
            )
        for path in (one.path for one in samples.values()):
            if not path.is_file():
                raise UserError(
                    f"the image '{path}' is named in the metadata but missing; run dalda augment again"
                )
        return list(samples.values())

    def _images(self) -> set[str]:
        """The names, as the metadata has them, of all files in the class folders."""
        found: set[str] = set()
        with os.scandir(self.folder / TRAIN) as classes:
            for place in classes:
                if place.is_dir():
                    found.update(f"{place.name}/{name}" for name in os.listdir(place.path))
        return found

    def _path(self, line: Mapping[str, Any]) -> Path:
        """Where a record's image lies; refuses a name, or a link, that leads out of the folder."""
        name = str(line.get("file_name", ""))
        path = self.folder / TRAIN / name
        if not name or "\0" in name or not path.resolve().is_relative_to(self._place):
            raise UserError(
                f"the metadata in '{self.folder}' names a file outside it: {name!r}; take that line out"
            )
        return path

    @cached_property
    def _place(self) -> Path:
        return (self.folder / TRAIN).resolve()

    def _records(self) -> tuple[Path, Path]:
        return self.folder / TRAIN / METADATA, self.folder / DROPPED

    def add(self, images: Sequence[Finished], dropped: Sequence[Dropped] = ()) -> None:
        """Images first, each whole or not at all; then their lines, flushed; then those of the dropped."""
        records = []
        for one in images:
            name = f"{folder_name(one.request.label)}/{one.request.id}{one.image.suffix}"
            path = self.folder / TRAIN / name
            make_folder(path.parent, root=self.folder)
            write(path, one.image.data, root=self.folder)
            records.append({"file_name": name, **_described(one)})
        metadata, drops = self._records()
        if records:
            lines.append(metadata, records, root=self.folder)
        if dropped:
            lines.append(drops, [{**_described(one), "reason": one.reason} for one in dropped])

    def settle(self, order: Iterable[GenerationRequest]) -> None:
        """Puts the records into the plan's order, so that no interruption can be seen in them."""
        place = {request.id: index for index, request in enumerate(order)}
        for path in self._records():
            lines.put_in_order(path, place)

    def is_settled(self, order: Iterable[GenerationRequest]) -> bool:
        """Whether `settle` would change nothing."""
        place = {request.id: index for index, request in enumerate(order)}
        return all(lines.are_in_order(path, place) for path in self._records())

    def rendering(self) -> dict[str, Any]:
        """How the images were rendered so far: what may differ from one run to the next."""
        kept = read_settings(self.folder).get("rendering")
        return dict(kept) if isinstance(kept, dict) else {}

    def remember(self, **rendering: Any) -> None:
        """Keeps how images are rendered from here on."""
        if rendering.items() <= self.rendering().items():
            return
        settings = read_settings(self.folder)
        write(
            self.folder / SETTINGS,
            to_yaml({**settings, "rendering": {**self.rendering(), **rendering}}),
        )


def _busy(folder: Path) -> str:
    return f"another process is adding to '{folder}'; wait for it, or choose another with -o"


def read_settings(folder: Path) -> dict[str, Any]:
    """What a synthetic folder was made with. Raises UserError when it is not one."""
    path = folder / SETTINGS
    if not exists(path):
        raise UserError(f"'{folder}' is not a folder made by dalda augment; it has no {SETTINGS}")
    return read_yaml(path)


def refuse_other(
    folder: Path,
    kept: Mapping[str, Any],
    settings: Mapping[str, Any],
    recorded: Collection[str],
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Raises UserError that names the first setting in which a folder's differ; `recorded` ones may."""
    found = difference(
        {name: value for name, value in kept.items() if name not in recorded},
        {name: value for name, value in settings.items() if name not in recorded},
        defaults,
    )
    if found:
        raise UserError(
            f"the output folder '{folder}' was made with {found}; use those again, or another folder: -o"
        )


def _described(one: Finished | Dropped) -> dict[str, Any]:
    request = one.request
    record = {
        "label": request.label,
        "source": request.source.as_posix(),
        "source_sha256": request.source_sha256,
        "repeat": request.repeat,
        "method": request.method,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "ip_adapter_scale": request.ip_adapter_scale,
        "ip_adapter_scale_mean": request.ip_adapter_scale_mean,
        "source_clip_probability": request.source_clip_probability,
        "guidance_scale": request.guidance_scale,
        "strength": request.strength,
        "steps": request.steps,
        "seed": one.seed,
        "model": request.model,
        "request_id": request.id,
    }
    if isinstance(one, Finished):
        record |= {"sha256": one.image.sha256, "rendered_again": one.rendered_again}
    return {**record, **one.made_with}


def _by_content(settings: Mapping[str, Any]) -> dict[str, Any]:
    contents = settings.get(CONTENTS)
    return {**settings, **contents} if isinstance(contents, dict) else dict(settings)
