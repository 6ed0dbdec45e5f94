"""The three published data sets, in their published folder layouts."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dalda.datasets.class_names import published_classes
from dalda.datasets.image_folder import ClassFiles, ImageDataset, unreadable, visible
from dalda.errors import UserError
from dalda.progress import note
from dalda.storage import Address, read_text

Classes = tuple[str, ...]


class _Missing(Exception):
    """What a data set lacks; `read_published` adds how to get it."""


def read_pets(root: Path, classes: Classes) -> dict[str, ClassFiles]:
    """Oxford-IIIT Pet: `annotations/trainval.txt` lists train, `annotations/test.txt` val.

    A line is `STEM CLASS_ID SPECIES BREED_ID`; the image is `STEM.jpg` in the root or in `images`.
    """
    # Users of a published README have the folder under that README's misspelt name.
    misspelt = root / "annnotations"
    listings = (
        misspelt if misspelt.is_dir() and not (root / "annotations").is_dir() else root / "annotations"
    )
    needed = [listings / "trainval.txt", listings / "test.txt"]
    _require(root, *needed)
    folders = [folder for folder in (root / "images", root) if folder.is_dir()]
    files = {path.name: path for folder in folders for path in visible(folder)}
    parts: dict[str, ClassFiles] = {}
    missing: list[str] = []
    for part, listing in zip(("train", "val"), needed, strict=True):
        entries = [(f"{stem}.jpg", label) for stem, label in _pets_lines(listing, classes)]
        missing += [name for name, _ in entries if name not in files]
        parts[part] = _by_class(classes, ((files[name], label) for name, label in entries if name in files))
    if missing:
        raise _Missing(
            f"{len(missing)} of the images that {listings} lists are missing, the first '{missing[0]}'"
        )
    return parts


def read_flowers102(root: Path, classes: Classes) -> dict[str, ClassFiles]:
    """Oxford Flowers 102: `jpg/*.jpg` sorted by name, labels counted from 1 in `imagelabels.mat`."""
    _require(root, root / "jpg", root / "imagelabels.mat")
    images = [path for path in visible(root / "jpg") if path.suffix == ".jpg"]
    labels = _flower_labels(root / "imagelabels.mat", len(classes))
    if len(images) != len(labels):
        raise _Missing(f"{root / 'jpg'} has {len(images)} images, but imagelabels.mat labels {len(labels)}")
    labelled = zip(images, (classes[label - 1] for label in labels), strict=True)
    return {"train": _by_class(classes, labelled)}


def read_caltech101(root: Path, classes: Classes) -> dict[str, ClassFiles]:
    """Caltech 101: folders of `101_ObjectCategories` (or of the root itself), named in the class list.

    A class is called as its folder, in lower case and with spaces; others are skipped.
    """
    inner = root / "101_ObjectCategories"
    _require(root)
    top = inner if inner.is_dir() else root
    labelled = [
        (folder, folder.name.lower().replace("_", " ")) for folder in visible(top) if folder.is_dir()
    ]
    known = [(folder, label) for folder, label in labelled if label in classes]
    if not known:
        raise _Missing(f"{inner} is missing")
    images = ((path, label) for folder, label in known for path in visible(folder) if path.suffix == ".jpg")
    files = _by_class(classes, images)
    missing = [label for label in classes if not files[label]]
    if missing:
        raise _Missing(
            f"{len(missing)} of the {len(classes)} classes have no images in {top}, the first "
            f"'{missing[0]}'"
        )
    return {"train": files}


PUBLISHED = {"pets": read_pets, "flowers102": read_flowers102, "caltech101": read_caltech101}
SHORT_NAMES = {"flowers": "flowers102", "caltech": "caltech101"}
"""As the published experiments call two of them; a folder of such a name goes first."""
USUAL_FOLDERS = {
    "pets": Path("datasets/oxford_pet"),
    "flowers102": Path("datasets/flowers102"),
    "caltech101": Path("datasets/caltech-101"),
}
"""Where the published experiments have them; found there without --root."""


def read_published(dataset: str, root: Path) -> ImageDataset:
    """The catalog of one of PUBLISHED; raises UserError for what is missing, with the way to get it."""
    classes = published_classes(dataset)
    try:
        parts = PUBLISHED[dataset](root, classes)
        bare = [label for label in classes if not any(files[label] for files in parts.values())]
        if len(bare) == len(classes):
            raise _Missing(f"{root} lists no images")
    except _Missing as missing:
        where = "FOLDER` on a disk, and copy it there" if isinstance(root, Address) else f"{root}`"
        raise UserError(f"{missing}: get {dataset} with `dalda download {dataset} --root {where}") from None
    except OSError as error:
        raise unreadable(root, error) from error
    if bare:
        note(f"{dataset}: {len(bare)} of {len(classes)} classes have no images, the first '{bare[0]}'")
    return ImageDataset(dataset, root, classes, parts, halved=True)


def _by_class(classes: Classes, images: Iterable[tuple[Path, str]]) -> ClassFiles:
    files: dict[str, list[Path]] = {label: [] for label in classes}
    for path, label in images:
        files[label].append(path)
    return {label: tuple(paths) for label, paths in files.items()}


def _pets_lines(listing: Path, classes: Classes) -> Iterable[tuple[str, str]]:
    """The image stem and the class of each line, without comments and empty lines."""
    for number, line in enumerate(read_text(listing).splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or not words[1].isdecimal() or not 1 <= int(words[1]) <= len(classes):
            raise UserError(
                f"line {number} of {listing} is not 'STEM CLASS_ID SPECIES BREED_ID' with a class from 1"
                f" to {len(classes)}: take the file from the archive again"
            )
        yield words[0], classes[int(words[1]) - 1]


def _flower_labels(path: Path, count: int) -> list[int]:
    from scipy.io import loadmat

    remedy = "take the file from its official address again"
    try:
        labels = np.asarray(loadmat(path, variable_names=["labels"])["labels"])
    except Exception as error:  # a parser fed broken bytes raises anything
        raise UserError(f"{path} is not a MATLAB file with 'labels' ({error}): {remedy}") from error
    if labels.dtype.kind not in "iuf" or not np.isin(labels, np.arange(1, count + 1)).all():
        raise UserError(f"{path} has labels other than the numbers from 1 to {count}: {remedy}")
    return [int(label) for label in labels.ravel()]


def _require(*needed: Path) -> None:
    missing = [path for path in needed if not path.exists()]
    if missing:
        raise _Missing(f"{missing[0]} is missing")
