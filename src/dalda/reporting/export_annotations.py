"""Exports for annotation tools: images under data/, and one labels.json in the layout of FiftyOne or COCO.

Layouts: FiftyOne's FiftyOneImageClassificationDataset, and COCO's instances file.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dalda.datasets.image_io import sides_of
from dalda.reporting.export_folder import ExportFolder, ExportImage

DATA = "data"
LABELS = "labels.json"


def write_fiftyone(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    """Labels as places in `classes`, by the file's name without its suffix; metadata as attributes.

    No attribute is named `label`: FiftyOne passes attributes on beside the label, by name.
    """
    classes = _add_images(images, folder)
    labels = {
        PurePosixPath(image.relative_path).with_suffix("").as_posix(): {
            "label": classes[image.label],
            "attributes": {key: value for key, value in _flat(image.metadata).items() if key != "label"},
        }
        for image in images
    }
    folder.add_file(LABELS, _json({"classes": list(classes), "labels": labels}))


def write_coco(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    """COCO has boxes and no labels of whole images: the box of each is the whole image."""
    classes = _add_images(images, folder)
    rows: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        width, height = sides_of(image.path)
        rows.append(
            {"id": number, "file_name": image.relative_path, "width": width, "height": height}
            | {"dalda": _flat(image.metadata)}
        )
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": classes[image.label] + 1,
                "bbox": [0, 0, width, height],
                "area": width * height,
                "segmentation": [],
                "iscrowd": 0,
            }
        )
    categories = [{"id": place + 1, "name": label} for label, place in classes.items()]
    info = {"description": "Images with the class of each; a box is the whole image."}
    content = {"info": info, "images": rows, "annotations": annotations, "categories": categories}
    folder.add_file(LABELS, _json(content))


def _add_images(images: Sequence[ExportImage], folder: ExportFolder) -> dict[str, int]:
    """Adds the images; returns the place of each class."""
    for image in images:
        folder.add_image(image.path, f"{DATA}/{image.relative_path}")
    folder.files.append(DATA)
    return {label: place for place, label in enumerate(dict.fromkeys(image.label for image in images))}


def _flat(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are plain: the tools take no nested ones."""
    return {key: value for key, value in metadata.items() if isinstance(value, str | int | float | bool)}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)
