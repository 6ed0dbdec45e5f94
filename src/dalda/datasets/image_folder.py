"""A folder of class folders: its parts, classes and image files, in a fixed order."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dalda.datasets.class_names import same_name
from dalda.datasets.image_io import IMAGE_SUFFIXES
from dalda.errors import UserError
from dalda.progress import note
from dalda.storage import StorageError

PARTS = ("train", "val")
TRAINING_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation")
"""What validation parts are called, first those that are validation parts by name."""
PHONE_SUFFIXES = {".heic", ".heif"}
"""Of photographs as phones keep them, which Pillow does not read."""
HOW_TO_SORT = "sort them into one folder per class (docs/table-of-labels.md does it by a table)"
ClassFiles = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class ImageDataset:
    """The image files of a data set, before any split is drawn from them."""

    dataset: str
    root: Path
    classes: tuple[str, ...]
    parts: dict[str, ClassFiles]
    """'train', and 'val' where the data set has one: class to files, in order."""
    halved: bool = False
    """Whether a part may be one half of its list, by the split strategy; otherwise it is all of it."""


def read_folder(folder: Path, dataset: str | None = None, *, halved: bool = False) -> ImageDataset:
    """The data set in `folder`: its class folders, or those of its training and validation parts.

    A class is called as its folder (Unicode NFC); classes and files are sorted by name; hidden ones are
    skipped. Parts are called as in TRAINING_NAMES and VALIDATION_NAMES, in upper or lower case; what is
    not used is reported.
    Raises UserError for anything that is not at least two classes with images in each.
    """
    try:
        return _read(folder, dataset, halved)
    except StorageError:
        raise
    except OSError as error:
        raise unreadable(folder, error) from error


def refuse_output_inside(out: Path, data: ImageDataset) -> None:
    """Raises UserError for an output folder that would be read as a class, or as images of one."""
    parts = data.parts.values()
    refuse_output_among(
        out, {paths[0]: label for files in parts for label, paths in files.items() if paths}
    )


def refuse_output_among(out: Path, images: Mapping[Path, str]) -> None:
    """The same of images with their classes, one of each folder."""
    target = out.expanduser().resolve()
    folders = {path.parent for path, label in images.items() if same_name(path.parent.name) == label}
    for parent in {folder.parent for folder in folders}:
        if target.is_relative_to(parent.resolve()):
            raise UserError(f"'{out}' lies among the classes of {parent}: choose a folder outside of it")


def unreadable(folder: Path, error: OSError) -> UserError:
    """What to say when the file system refuses."""
    return UserError(f"{error.filename or folder} cannot be read ({error.strerror}): check its permissions")


def _read(folder: Path, dataset: str | None, halved: bool) -> ImageDataset:
    if not folder.exists():
        raise UserError(f"there is no folder {folder}: name a folder of class folders")
    if not folder.is_dir():
        table = f", not a table; {HOW_TO_SORT}" if folder.suffix.lower() in (".csv", ".tsv") else ""
        raise UserError(f"{folder} is not a folder: name a folder of class folders{table}")
    if not _is_printable(str(folder)):
        raise UserError(f"the folder {str(folder)!a} has a name that is not valid Unicode text: rename it")
    places = _places(folder)
    parts = {part: _class_files(place) for part, place in places.items()}
    classes = tuple(parts["train"])
    if len(classes) == 1:
        raise UserError(f"{folder} has only one class ('{classes[0]}'): a classifier needs at least two")
    if "val" in parts and set(parts["val"]) != set(classes):
        odd = sorted(set(parts["val"]) ^ set(classes))[0]
        names = f"'{places['train'].name}' and '{places['val'].name}'"
        raise UserError(f"class '{odd}' is in one part of {folder} only: give {names} the same classes")
    return ImageDataset(dataset or folder.resolve().name, folder, classes, parts, halved)


def visible(folder: Path) -> list[Path]:
    """What a folder holds, without hidden entries, sorted by name."""
    entries = sorted(
        (path for path in folder.iterdir() if path.name[:1] != "."), key=lambda path: path.name
    )
    for path in entries:
        if not _is_printable(path.name):
            raise UserError(
                f"a name in {folder} is not valid Unicode, or has a control character ({path.name!a}): "
                "rename it"
            )
    return entries


def is_image(path: Path) -> bool:
    """Whether a file calls itself an image; what is in it is not looked at."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def images_below(folder: Path) -> Iterator[Path]:
    """The images in a folder and in all folders in it, sorted; links to folders are not followed."""
    for path in visible(folder):
        if path.is_dir() and not path.is_symlink():
            yield from images_below(path)
        elif is_image(path):
            yield path


def choose_parts(names: Iterable[str], what: object) -> dict[str, str]:
    """The names of the training and validation parts among those of a data set; others are reported.

    Empty where none is a training part. Raises UserError for two of one kind.
    """
    listed = list(names)
    chosen: dict[str, str] = {}
    for part, known in (("train", TRAINING_NAMES), ("val", VALIDATION_NAMES)):
        for word in known:
            alike = [name for name in listed if name.casefold() == word]
            if len(alike) > 1:
                raise UserError(f"{what} has the parts '{alike[0]}' and '{alike[1]}': rename one")
            if alike:
                chosen.setdefault(part, alike[0])
    if "train" not in chosen:
        return {}
    both = [name for name in listed if name.casefold() in TRAINING_NAMES and name != chosen["train"]]
    if both:
        raise UserError(f"{what} has the parts '{chosen['train']}' and '{both[0]}': rename one")
    unused = [name for name in listed if name not in chosen.values()]
    if unused:
        used = " and ".join(f"'{name}'" for name in chosen.values())
        note(f"of {what} the parts {used} are used; not used: {', '.join(sorted(unused))}")
    return chosen


def _places(folder: Path) -> dict[str, Path]:
    """Where the parts lie. A 'train' that holds images beside other classes is itself a class."""
    entries = visible(folder)
    names = {path.name: path for path in entries if path.is_dir()}
    training = [path for name, path in names.items() if name.casefold() in TRAINING_NAMES]
    others = {name for name in names if name.casefold() not in (*TRAINING_NAMES, *VALIDATION_NAMES)}
    if not training or (others and not any(path.is_dir() for path in visible(training[0]))):
        return {"train": folder}
    loose = [path for path in entries if is_image(path)]
    if loose:
        _note_skipped(folder, loose)
    return {part: names[name] for part, name in choose_parts(names, folder).items()}


def _class_files(folder: Path) -> ClassFiles:
    entries = visible(folder)
    classes: ClassFiles = {}
    odd = [path for path in entries if is_image(path)]
    for class_folder in (path for path in entries if path.is_dir()):
        label = same_name(class_folder.name)
        inside = visible(class_folder)
        files = tuple(path for path in inside if is_image(path))
        odd += [path for path in inside if not is_image(path)]
        if not files:
            raise UserError(_no_images(label, class_folder, alone=sum(map(Path.is_dir, entries)) == 1))
        if label in classes:
            raise UserError(f"two folders in {folder} are both called '{label}': rename or join them")
        classes[label] = files
    if not classes and odd:
        raise UserError(f"images lie directly in {folder}: {HOW_TO_SORT}")
    if not classes:
        raise UserError(f"{folder} has no class folders: make one folder of images per class in it")
    if odd:
        _note_skipped(folder, odd)
    return dict(sorted(classes.items()))


def _no_images(label: str, folder: Path, *, alone: bool) -> str:
    """What to do about a class folder without images; `alone` where it is the only one."""
    if any(path.suffix.lower() in PHONE_SUFFIXES for path in visible(folder)):
        return f"class '{label}' has HEIC images only in {folder}, which are not read: save them as JPEG"
    deeper = next(images_below(folder), None)
    if deeper is None:
        return f"class '{label}' has no images in {folder}: add some, or take the folder away"
    if not alone:
        return f"the images of class '{label}' lie deeper, as {deeper}: move them into {folder} itself"
    classes = deeper.parent.parent
    names = {*TRAINING_NAMES, *VALIDATION_NAMES}
    found = classes.parent if classes.name.casefold() in names else classes
    return f"{folder.parent} holds no class folders, but {found} seems to: name that folder"


def _note_skipped(folder: Path, paths: list[Path]) -> None:
    phone = [path for path in paths if path.suffix.lower() in PHONE_SUFFIXES]
    note(
        f"{len(paths)} entries of {folder} are not images in a class folder and are skipped, as "
        f"{(phone or paths)[0]}{'; HEIC images are not read: save them as JPEG' if phone else ''}"
    )


def _is_printable(name: str) -> bool:
    """Whether a name can be written in UTF-8, in one cell of a table and on a terminal."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not any(unicodedata.category(letter) == "Cc" for letter in name)
