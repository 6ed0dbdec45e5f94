"""The finished folder: an image folder with metadata, written so that a stop anywhere is harmless.

An image is written first, under a temporary name, then renamed; its line in the metadata follows
and is flushed. A torn last line is dropped, and its job is done again. Nothing is ever deleted.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from dalda.errors import UserError
from dalda.records import Job, Sample

SETTINGS = "dalda.yaml"
UNFINISHED = SETTINGS + ".partial"
NEEDED = frozenset(
    {"job_id", "label", "source", "source_sha256", "repeat", "prompt", "ip_adapter_scale", "clip_score"}
)
"""What a record must say of itself to be a sample."""
RECORDED_ONLY = frozenset({"versions", "rendering"})
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
class Store:
    """One synthetic set on disk: OUT/train/<class>/<id>.png, its metadata and OUT/dalda.yaml."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> "Store":
        """Makes the folder, or goes on with one that was begun with the same settings.

        Raises UserError, naming the difference, for a folder of other settings or of other things,
        and for one that cannot be written.
        """
        store = cls(folder)
        try:
            if folder.exists() and not folder.is_dir():
                raise UserError(f"the output '{folder}' is a file, not a folder; choose another with -o")
            if not (folder / SETTINGS).exists():
                if folder.exists() and any(path.name != UNFINISHED for path in folder.iterdir()):
                    raise UserError(
                        f"the output folder '{folder}' holds files that dalda did not make; "
                        "choose a new or empty folder with -o"
                    )
                folder.mkdir(parents=True, exist_ok=True)
                text = yaml.safe_dump(dict(settings), allow_unicode=True, sort_keys=False)
                _write_atomically(folder / SETTINGS, text)
            store._refuse_other(settings)
            (folder / TRAIN).mkdir(exist_ok=True)
            store._mend()
        except OSError as error:
            raise UserError(
                f"the output folder '{folder}' cannot be used ({error.strerror}); choose another with -o"
            ) from error
        return store

    @classmethod
    def existing(cls, folder: Path) -> "Store":
        """A finished or unfinished folder, to be read. Raises UserError when it is not one."""
        read_settings(folder)
        return cls(folder)

    def _refuse_other(self, settings: Mapping[str, Any]) -> None:
        kept = read_settings(self.folder)
        for key in [key for key in {**settings, **kept} if key not in RECORDED_ONLY]:
            if kept.get(key) != settings.get(key):
                raise UserError(
                    f"the output folder '{self.folder}' was made with {key} = {_short(kept.get(key))}, "
                    f"now it is {_short(settings.get(key))}; use those again, or another folder with -o"
                )

    def _mend(self) -> None:
        """Cuts a torn last line off each record file."""
        for path in (self.folder / TRAIN / METADATA, self.folder / DROPPED):
            if path.exists():
                data = path.read_bytes()
                whole = data.rfind(b"\n") + 1
                if whole != len(data):
                    with path.open("r+b") as file:
                        file.truncate(whole)

    def finished(self) -> set[str]:
        """Ids of the jobs that need no more work: painted, or dropped with a reason."""
        done = {str(line["job_id"]) for line in self.lines() if self._path(line).exists()}
        return done | {str(line["job_id"]) for line in _read_lines(self.folder / DROPPED)}

    def lines(self) -> Iterator[dict[str, Any]]:
        """The metadata's records, as written."""
        yield from _read_lines(self.folder / TRAIN / METADATA)

    def samples(self) -> list[Sample]:
        """Every finished image. Raises UserError for one that is named but missing."""
        samples = []
        for line in self.lines():
            path = self._path(line)
            if not path.is_file():
                raise UserError(
                    f"the image '{path}' is named in the metadata but missing; run dalda augment again"
                )
            samples.append(
                Sample(
                    path=path,
                    label=line["label"],
                    source=Path(line["source"]),
                    source_sha256=line["source_sha256"],
                    repeat=line["repeat"],
                    job_id=line["job_id"],
                    prompt=line["prompt"],
                    ip_adapter_scale=line["ip_adapter_scale"],
                    clip_score=line["clip_score"],
                )
            )
        return samples

    def _path(self, line: Mapping[str, Any]) -> Path:
        """Where a record's image lies; refuses a name that leads out of the folder."""
        name = Path(str(line.get("file_name", "")))
        if ".." in name.parts or name.is_absolute() or not name.parts:
            raise UserError(f"the metadata in '{self.folder}' names a file outside it: {str(name)!r}")
        return self.folder / TRAIN / name

    def add(self, job: Job, image: Image.Image) -> None:
        """Image first, atomically; then its line, flushed."""
        name = f"{folder_name(job.label)}/{job.id}.png"
        path = self.folder / TRAIN / name
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        image.save(partial, format="PNG", compress_level=1)
        partial.replace(path)
        _append(self.folder / TRAIN / METADATA, {"file_name": name, **_described(job)})

    def drop(self, job: Job, reason: str) -> None:
        """Remembers that a job's image was not kept, and why."""
        _append(self.folder / DROPPED, {**_described(job), "reason": reason})

    def settle(self, order: Iterable[Job]) -> None:
        """Puts the metadata into the plan's order, so that no interruption can be seen in it."""
        place = {job.id: index for index, job in enumerate(order)}
        for path in (self.folder / TRAIN / METADATA, self.folder / DROPPED):
            if path.exists():
                unique = {str(line["job_id"]): line for line in _read_lines(path)}
                lines = sorted(unique.values(), key=lambda line: place.get(str(line["job_id"]), -1))
                text = "".join(_as_line(line) for line in lines)
                if _unfinished(path).exists() or text != path.read_text(encoding="utf-8"):
                    _write_atomically(path, text)

    def dropped(self) -> list[dict[str, Any]]:
        """The dropped jobs with their reasons."""
        return list(_read_lines(self.folder / DROPPED))


def read_settings(folder: Path) -> dict[str, Any]:
    """What a synthetic folder was made with. Raises UserError when it is not one."""
    path = folder / SETTINGS
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"'{folder}' is not a folder made by dalda augment; it has no {SETTINGS}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise UserError(f"the settings '{path}' cannot be read; restore them or use a new folder") from None
    if not isinstance(settings, dict):
        raise UserError(f"the settings '{path}' are empty or damaged; restore them or use a new folder")
    return settings


def _described(job: Job) -> dict[str, Any]:
    return {
        "label": job.label,
        "source": job.source.as_posix(),
        "source_sha256": job.source_sha256,
        "repeat": job.repeat,
        "method": job.method,
        "prompt": job.prompt,
        "negative_prompt": job.negative_prompt,
        "ip_adapter_scale": job.ip_adapter_scale,
        "ip_adapter_scale_mean": job.ip_adapter_scale_mean,
        "clip_score": job.clip_score,
        "guidance_scale": job.guidance_scale,
        "strength": job.strength,
        "steps": job.steps,
        "seed": job.seed,
        "model": job.model,
        "job_id": job.id,
    }


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _as_line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _append(path: Path, record: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(_as_line(record))
        file.flush()
        os.fsync(file.fileno())


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return
            try:
                record = json.loads(text)
            except json.JSONDecodeError:
                record = None
            if not isinstance(record, dict) or not record.keys() >= NEEDED:
                raise UserError(f"line {number} of '{path}' is damaged; take it out and run again")
            yield record


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _write_atomically(path: Path, text: str) -> None:
    partial = _unfinished(path)
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
