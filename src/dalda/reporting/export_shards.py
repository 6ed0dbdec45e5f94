"""Exports in numbered files of many images each: WebDataset and Parquet."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from dalda.errors import UserError
from dalda.reporting.export_folder import ExportFolder, ExportImage, places_of_classes
from dalda.seeding import generator_of
from dalda.storage import open_new, read_bytes

SHARD_IMAGES = 1000
"""Images in one file."""


def write_shards(
    images: Sequence[ExportImage],
    folder: ExportFolder,
    suffix: str,
    write: Callable[[BinaryIO, Sequence[ExportImage], Mapping[str, int]], None],
) -> None:
    """Numbered files, the classes that their labels are places in, and a summary of each file.

    Their order mixes the classes, because shards are read one after the other.
    """
    order = generator_of(0, "webdataset").permutation(len(images)).tolist()
    classes = places_of_classes(images)
    summaries = []
    for number, start in enumerate(range(0, len(images), SHARD_IMAGES)):
        name = f"train-{number:06}{suffix}"
        shard = [images[place] for place in order[start : start + SHARD_IMAGES]]
        counts = Counter(image.label for image in shard)
        with open_new(folder.path / name, root=folder.path) as file:
            write(file, shard, classes)
            summary = {"file": name, "images": len(shard), "bytes": file.tell()}
        summaries.append({**summary, "classes": dict(sorted(counts.items()))})
        folder.copied += len(shard)
        folder.progress.advance(len(shard))
        folder.files.append(name)
    folder.add_file("classes.json", json.dumps(list(classes)))
    folder.add_file("shards.json", json.dumps(summaries, ensure_ascii=False, indent=1))


def write_tar(file: BinaryIO, images: Sequence[ExportImage], classes: Mapping[str, int]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:
        for image in images:
            stem = Path(image.name).stem
            _add_member(tar, image.name, read_bytes(image.path))
            _add_member(tar, f"{stem}.cls", str(classes[image.label]).encode())
            _add_member(tar, f"{stem}.json", json.dumps(dict(image.metadata)).encode())


def write_parquet(file: BinaryIO, images: Sequence[ExportImage], classes: Mapping[str, int]) -> None:
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
            "label": classes[image.label],
            "metadata": json.dumps(dict(image.metadata)),
        }
        for image in images
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file)


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner and time: the same set gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))
