"""The forms in which a synthetic set is exported: class folders, Hugging Face, shards, and a table.

`EXPORT_FORMS` is the registry; a form is a function that writes the images into an `ExportFolder`.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dalda.generation.synthetic_dataset import METADATA, TRAIN
from dalda.registry import Registry
from dalda.reporting.export_annotations import coco_labels, fiftyone_labels, write_annotations
from dalda.reporting.export_folder import ExportFolder, ExportImage
from dalda.reporting.export_shards import write_parquet, write_shards, write_tar

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
class ExportForm:
    """How one form is written."""

    write: Callable[[Sequence[ExportImage], ExportFolder], None]
    holds_real_images: bool = True
    names_files: bool = True
    """Whether the images' file names are free to choose."""
    card: bool = False
    """Whether the Hugging Face Hub reads the form, and a data card lies beside."""


def table_of(images: Sequence[ExportImage], file_name: Callable[[ExportImage], str]) -> Iterator[str]:
    """CSV with a line per image, the same columns for real and synthetic ones; line by line.

    All text is quoted and none is changed, so that names such as `=`, `@home` or one with a line break are
    read back as they are.
    """
    known = dict.fromkeys(key for image in images for key in image.metadata)
    columns = list(dict.fromkeys([*FIRST_COLUMNS, *known]))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    for image in images:
        writer.writerow({"file_name": file_name(image), **image.metadata})
        yield file.getvalue()
        file.seek(0)
        file.truncate()
    yield file.getvalue()


def _write_folder(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    folder.add_images(images, TRAIN)
    folder.files.append(TRAIN)
    folder.add_file(TABLE, table_of(images, lambda image: f"{TRAIN}/{image.relative_path}"))


def _write_hugging_face(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    folder.add_images(images, TRAIN)
    # Every line has the same columns: the loader takes them from the first one.
    columns = dict.fromkeys(key for image in reversed(images) for key in image.metadata)
    lines = (
        {"file_name": image.relative_path, **{key: image.metadata.get(key) for key in columns}}
        for image in images
    )
    folder.add_file(f"{TRAIN}/{METADATA}", (json.dumps(x, ensure_ascii=False) + "\n" for x in lines))


EXPORT_FORMS: Registry[ExportForm] = Registry(
    {
        "folder": ExportForm(_write_folder),
        "hf": ExportForm(_write_hugging_face, card=True),
        "webdataset": ExportForm(partial(write_shards, suffix=".tar", write=write_tar), card=True),
        "parquet": ExportForm(partial(write_shards, suffix=".parquet", write=write_parquet), card=True),
        "fiftyone": ExportForm(partial(write_annotations, labels_of=fiftyone_labels)),
        "coco": ExportForm(partial(write_annotations, labels_of=coco_labels)),
    }
)
"""By the word of `--to`; a module that brings another form adds it here. `csv` is a single file."""
