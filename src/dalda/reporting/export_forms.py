"""The forms in which a synthetic set is exported: class folders, Hugging Face, shards, and a table.

`EXPORT_FORMS` is the registry; a form is a function that writes the images into an `ExportFolder`.
"""

import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from dalda.errors import UserError
from dalda.generation.folder_names import folder_name
from dalda.generation.synthetic_dataset import METADATA, TRAIN
from dalda.progress import Progress
from dalda.registry import Registry
from dalda.seeding import generator_of
from dalda.storage import link_or_copy, open_new, read_bytes

SHARD_IMAGES = 1000
"""Images in one file of a WebDataset or of Parquet."""
TABLE = "metadata.csv"
FIRST_COLUMNS = (
    "file_name",
    "label",
    "origin",
    "source",
    "prompt",
    "ip_adapter_scale",
    "source_clip_probability",
)


@dataclass(frozen=True)
class ExportImage:
    """One image of an export: its file, its new name, and its metadata."""

    path: Path
    label: str
    name: str
    """A file name that dalda made; never one that was read from metadata."""
    metadata: Mapping[str, Any]

    @property
    def relative_path(self) -> str:
        """From the folder that holds all class folders."""
        return f"{folder_name(self.label)}/{self.name}"


@dataclass
class ExportFolder:
    """The new folder of an export, with counts of what was written."""

    path: Path
    progress: Progress
    sources: Sequence[tuple[str, str]] = ()
    """(class, SHA-256) of all source images, class by class; those without an image are last in theirs."""
    linked: int = 0
    copied: int = 0
    files: list[str] = field(default_factory=list)
    """What to read first, relative to the folder."""

    def add_image(self, source: Path, name: str) -> None:
        """Puts an image file at `name`: a hard link where the disk allows it, else a copy."""
        try:
            linked = link_or_copy(source, self.path / name, root=self.path)
        except FileExistsError:
            # Never written into: the file that is there is a link to another image of the set.
            raise UserError(f"two images would both be '{name}'; take one of their lines out") from None
        self.linked += linked
        self.copied += not linked
        self.progress.advance()

    def add_file(self, name: str, content: bytes | str) -> None:
        """Writes a new file and lists it."""
        with open_new(self.path / name, root=self.path) as file:
            file.write(content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))
        self.files.append(name)


@dataclass(frozen=True)
class ExportForm:
    """How one form is written."""

    write: Callable[[Sequence[ExportImage], ExportFolder], None]
    holds_real_images: bool = True


def table_of(images: Sequence[ExportImage], file_name: Callable[[ExportImage], str]) -> str:
    """CSV with a line per image, the same columns for real and synthetic ones.

    All text is quoted and none is changed, so that names such as `=`, `@home` or one with a line break are
    read back as they are.
    """
    known = dict.fromkeys(key for image in images for key in image.metadata)
    columns = list(dict.fromkeys([*FIRST_COLUMNS, *known]))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows({"file_name": file_name(image), **image.metadata} for image in images)
    return file.getvalue()


def _write_folder(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    for image in images:
        folder.add_image(image.path, f"{TRAIN}/{image.relative_path}")
    folder.files.append(TRAIN)
    folder.add_file(TABLE, table_of(images, lambda image: f"{TRAIN}/{image.relative_path}"))


def _write_hugging_face(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    for image in images:
        folder.add_image(image.path, f"{TRAIN}/{image.relative_path}")
    # Every line has the same columns: the loader takes them from the first one.
    columns = dict.fromkeys(key for image in reversed(images) for key in image.metadata)
    lines = (
        {"file_name": image.relative_path, **{key: image.metadata.get(key) for key in columns}}
        for image in images
    )
    folder.add_file(f"{TRAIN}/{METADATA}", "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines))


@dataclass(frozen=True)
class _Shard:
    name: str
    images: Sequence[ExportImage]

    def summary(self, size: int) -> dict[str, Any]:
        return {
            "file": self.name,
            "images": len(self.images),
            "bytes": size,
            "classes": dict(sorted(Counter(image.label for image in self.images).items())),
        }


def _shards(images: Sequence[ExportImage], suffix: str) -> Iterator[_Shard]:
    """In an order that mixes the classes, because shards are read one after the other."""
    order = generator_of(0, "webdataset").permutation(len(images)).tolist()
    for number, start in enumerate(range(0, len(images), SHARD_IMAGES)):
        chunk = [images[place] for place in order[start : start + SHARD_IMAGES]]
        yield _Shard(f"train-{number:06}{suffix}", chunk)


def _write_shards(
    images: Sequence[ExportImage],
    folder: ExportFolder,
    suffix: str,
    write: Callable[[BinaryIO, _Shard, Sequence[str]], None],
) -> None:
    """Numbered files, the classes that their labels are places in, and a summary of each file."""
    classes, summaries = list(dict.fromkeys(image.label for image in images)), []
    for shard in _shards(images, suffix):
        with open_new(folder.path / shard.name, root=folder.path) as file:
            write(file, shard, classes)
            summaries.append(shard.summary(file.tell()))
        folder.copied += len(shard.images)
        folder.progress.advance(len(shard.images))
        folder.files.append(shard.name)
    folder.add_file("classes.json", json.dumps(classes))
    folder.add_file("shards.json", json.dumps(summaries, ensure_ascii=False, indent=1))


def _write_tar(file: BinaryIO, shard: _Shard, classes: Sequence[str]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        for image in shard.images:
            stem = Path(image.name).stem
            _add_member(tar, image.name, read_bytes(image.path))
            _add_member(tar, f"{stem}.cls", str(classes.index(image.label)).encode())
            _add_member(tar, f"{stem}.json", json.dumps(dict(image.metadata)).encode())


def _write_parquet(file: BinaryIO, shard: _Shard, classes: Sequence[str]) -> None:
    """Columns image (bytes and file name), label and metadata (JSON), which `datasets` reads as such."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("--to parquet needs pyarrow: pip install 'dalda[hf]'") from None
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(classes)},
        "metadata": {"_type": "Value", "dtype": "string"},
    }
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema(
        [("image", image), ("label", pyarrow.int64()), ("metadata", pyarrow.string())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [
        {
            "image": {"bytes": read_bytes(image.path), "path": image.name},
            "label": classes.index(image.label),
            "metadata": json.dumps(dict(image.metadata)),
        }
        for image in shard.images
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file)


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner and time: the same set gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


EXPORT_FORMS: Registry[ExportForm] = Registry(
    {
        "folder": ExportForm(_write_folder),
        "hf": ExportForm(_write_hugging_face),
        "webdataset": ExportForm(partial(_write_shards, suffix=".tar", write=_write_tar)),
        "parquet": ExportForm(partial(_write_shards, suffix=".parquet", write=_write_parquet)),
    }
)
"""By the word of `--to`; a module that brings another form adds it here. `csv` is a single file."""
