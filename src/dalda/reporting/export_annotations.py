"""Exports for annotation tools: images under data/, and one labels.json in the layout of FiftyOne or COCO.

Layouts: FiftyOne's FiftyOneImageClassificationDataset, and COCO's instances file.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from dalda.datasets.image_io import sides_of
from dalda.reporting.export_folder import ExportFolder, ExportImage, places_of_classes

DATA = "data"
LABELS = "labels.json"


def write_annotations(
    images: Sequence[ExportImage],
    folder: ExportFolder,
    labels_of: Callable[[Sequence[ExportImage], Mapping[str, int]], dict[str, Any]],
) -> None:
    """The images, and what a layout says of them and of the places of their classes."""
    folder.add_images(images, DATA)
    folder.files.append(DATA)
    folder.add_file(LABELS, json.dumps(labels_of(images, places_of_classes(images)), ensure_ascii=False))


def fiftyone_labels(images: Sequence[ExportImage], classes: Mapping[str, int]) -> dict[str, Any]:
    """Labels as places in `classes`, by the file's name without its suffix; metadata as attributes.

    No attribute is named `label`: FiftyOne passes attributes on beside the label, by name.
    """
    labels = {
        PurePosixPath(image.relative_path).with_suffix("").as_posix(): {
            "label": classes[image.label],
            "attributes": {key: value for key, value in _flat(image.metadata).items() if key != "label"},
        }
        for image in images
    }
    return {"classes": list(classes), "labels": labels}


def coco_labels(images: Sequence[ExportImage], classes: Mapping[str, int]) -> dict[str, Any]:
    """COCO has boxes and no labels of whole images: the box of each is the whole image."""
    numbered = [(number, image, *sides_of(image.path)) for number, image in enumerate(images, 1)]
    return {
        "info": {"description": "Images with the class of each; a box is the whole image."},
        "images": [
            {"id": number, "file_name": image.relative_path, "width": width, "height": height}
            | {"dalda": _flat(image.metadata)}
            for number, image, width, height in numbered
        ],
        "annotations": [
            {
                "id": number,
                "image_id": number,
                "category_id": classes[image.label] + 1,
                "bbox": [0, 0, width, height],
                "area": width * height,
                "segmentation": [],
                "iscrowd": 0,
            }
            for number, image, width, height in numbered
        ],
        "categories": [{"id": place + 1, "name": label} for label, place in classes.items()],
    }


def _flat(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are plain: the tools take no nested ones."""
    return {key: value for key, value in metadata.items() if isinstance(value, str | int | float | bool)}
