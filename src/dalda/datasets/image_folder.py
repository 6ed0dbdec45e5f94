"""A folder of class folders, read as it is: what there is, in which order, and nothing guessed."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from dalda.datasets.image_io import IMAGE_SUFFIXES
from dalda.errors import UserError
from dalda.progress import say

PARTS = ("train", "val")
ClassFiles = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class ImageDataset:
    """The image files of a data set, before any split is drawn from them."""

    dataset: str
    root: Path
    classes: tuple[str, ...]
    parts: dict[str, ClassFiles]
    """'train', and 'val' where the data set has a list of its own for it: class to files, in order."""
    halved: bool = False
    """Train takes the first half of its permuted list and val the second of its own (of the only list
    where there is one), as in the original code. Else every image of a part is an example."""


def read_folder(folder: Path, dataset: str | None = None, *, halved: bool = False) -> ImageDataset:
    """The catalog of `folder` or, when there is one, of `folder/train` with `folder/val` or `folder/test`.

    A class is called as its folder (Unicode NFC); classes and files are sorted by name; hidden ones are
    left out. Raises UserError for anything that is not at least two classes with images in each.
    """
    try:
        return _read(folder, dataset, halved)
    except OSError as error:
        raise unreadable(folder, error) from error


def unreadable(place: Path, error: OSError) -> UserError:
    """What to say when the file system refuses."""
    return UserError(f"{error.filename or place} cannot be read ({error.strerror}): check its permissions")


def _read(folder: Path, dataset: str | None, halved: bool) -> ImageDataset:
    if not folder.exists():
        raise UserError(f"there is no folder {folder}: name a folder of class folders")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name a folder of class folders")
    if not _is_text(str(folder)):
        raise UserError(f"the folder {str(folder)!a} has a name that is not valid Unicode: rename it")
    parts = {part: _class_files(place) for part, place in _places(folder).items()}
    classes = tuple(parts["train"])
    if len(classes) == 1:
        raise UserError(f"{folder} has only one class ('{classes[0]}'): a classifier needs at least two")
    if "val" in parts and set(parts["val"]) != set(classes):
        odd = sorted(set(parts["val"]) ^ set(classes))[0]
        raise UserError(
            f"class '{odd}' is in one part of {folder} only: give train and val the same classes"
        )
    return ImageDataset(dataset or folder.resolve().name, folder, classes, parts, halved)


def visible(folder: Path) -> list[Path]:
    """What a folder holds, hidden entries left out, sorted by name."""
    found = sorted((path for path in folder.iterdir() if path.name[:1] != "."), key=lambda path: path.name)
    for path in found:
        if not _is_text(path.name):
            raise UserError(f"a name in {folder} is not valid Unicode ({path.name!a}): rename it")
    return found


def is_image(path: Path) -> bool:
    """Whether a file calls itself an image; what is in it is not looked at."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _places(folder: Path) -> dict[str, Path]:
    """Where the parts lie. A 'train' that holds images beside other classes is itself a class."""
    names = {path.name: path for path in visible(folder) if path.is_dir()}
    train = names.get("train")
    if train is None:
        return {"train": folder}
    if set(names) - {"train", "val", "test"} and not any(path.is_dir() for path in visible(train)):
        return {"train": folder}
    held_out = names.get("val") or names.get("test")
    return {"train": train} if held_out is None else {"train": train, "val": held_out}


def _class_files(folder: Path) -> ClassFiles:
    entries = visible(folder)
    found: ClassFiles = {}
    odd = [path for path in entries if is_image(path)]
    for place in (path for path in entries if path.is_dir()):
        label = unicodedata.normalize("NFC", place.name)
        held = visible(place)
        files = tuple(path for path in held if is_image(path))
        odd += [path for path in held if not is_image(path)]
        if not files:
            raise UserError(f"class '{label}' has no images in {place}: add some, or take the folder away")
        if label in found:
            raise UserError(f"two folders in {folder} are both called '{label}': rename or join them")
        found[label] = files
    if not found and odd:
        raise UserError(f"images lie directly in {folder}: sort them into one folder per class")
    if not found:
        raise UserError(f"{folder} has no class folders: make one folder of images per class in it")
    if odd:
        say(
            f"{len(odd)} entries of {folder} are not images in a class folder and are left out, as {odd[0]}"
        )
    return dict(sorted(found.items()))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
