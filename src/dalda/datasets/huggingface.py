"""Data sets that the `datasets` library reads: from the Hub, or from a local folder of its files."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from dalda.datasets.class_names import same_name
from dalda.datasets.image_folder import ClassFiles, ImageDataset, choose_parts
from dalda.datasets.image_io import IMAGE_SUFFIXES, MAX_BYTES
from dalda.errors import UserError, first_line
from dalda.progress import progress, say
from dalda.storage import make_folder, read_bytes, write


def read_hugging_face(name: str, cache: Path | None = None) -> ImageDataset:
    """The catalog of `datasets.load_dataset(name)`, its images written once into a cache folder.

    The only split is train; of several, those that are called as the parts of a folder are used. Classes
    come in the data set's own order. Scripts of a data set are never run. Raises UserError for what has no
    labelled images.
    """
    try:
        import datasets
        from huggingface_hub import constants
    except ImportError as error:
        raise UserError("hf: data sets need the extra 'hf': pip install 'dalda[hf]'") from error
    tables = _load(name)
    folder = cache or Path(datasets.config.HF_DATASETS_CACHE) / "dalda"
    root = folder / hashlib.sha256(name.encode()).hexdigest()[:16]
    trusted = (Path(name), Path(datasets.config.HF_DATASETS_CACHE), Path(constants.HF_HUB_CACHE))
    parts = {
        part: _write_images(table, f"{part} of hf:{name}", root / part, trusted)
        for part, table in tables.items()
    }
    classes = tuple(dict.fromkeys(label for files in parts.values() for label in files))
    for part, files in parts.items():
        bare = [label for label in classes if label not in files]
        if bare:
            raise UserError(
                f"class '{bare[0]}' has no images in {part} of hf:{name}: choose another data set"
            )
    if len(classes) < 2:
        raise UserError(
            f"hf:{name} has fewer than two classes with images: a classifier needs at least two"
        )
    ordered = {part: {label: files[label] for label in classes} for part, files in parts.items()}
    return ImageDataset(f"hf:{name}", root, classes, ordered)


def _load(name: str) -> dict[str, Any]:
    """The tables of train and, where there is one, of val."""
    import datasets

    folder = Path(name)
    saved = any((folder / mark).exists() for mark in ("dataset_info.json", "dataset_dict.json"))
    try:
        dataset = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except Exception as error:  # the library raises anything, for a name, a network or a file
        raise UserError(
            f"hf:{name} cannot be loaded ({first_line(error)}): check the name and the network"
        ) from error
    splits = dict(dataset) if isinstance(dataset, dict) else {"train": dataset}
    if len(splits) == 1:
        return {"train": next(iter(splits.values()))}
    chosen = choose_parts(splits, f"hf:{name}")
    if not chosen:
        raise UserError(f"hf:{name} has no split 'train' but {', '.join(splits)}: choose another data set")
    return {part: splits[split] for part, split in chosen.items()}


def _columns(table: Any, what: str) -> tuple[str, str]:
    """The names of the image column and of the class column."""
    import datasets

    features = table.features
    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    words = [
        key for key, feature in features.items() if key == "label" and feature == datasets.Value("string")
    ]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in labels + words else labels[0] if len(labels) == 1 else None
    if image is None or label is None:
        raise UserError(
            f"{what} needs one column of images and one of class labels, 'image' and 'label', "
            f"but has {', '.join(features)}: choose another data set"
        )
    return image, label


def _write_images(table: Any, what: str, folder: Path, trusted: tuple[Path, ...]) -> ClassFiles:
    """Each row's image as a file named by its content; what is there already is not written again."""
    import datasets

    image, label = _columns(table, what)
    feature = table.features[label]
    names = (
        feature.names if isinstance(feature, datasets.ClassLabel) else sorted(set(table[label]) - {None})
    )
    files: dict[str, list[Path]] = {same_name(str(name)): [] for name in names}
    rows = table.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    unlabelled = 0
    make_folder(folder)
    with progress(f"reading {what}", len(rows)) as bar:
        for content, suffix, number in _rows(rows, image, label, trusted):
            bar.advance()
            name = names[number] if isinstance(number, int) and number >= 0 else number
            if content is None or not isinstance(name, str):
                unlabelled += 1
                continue
            path = folder / (hashlib.sha256(content).hexdigest() + suffix)
            if not path.exists():
                write(path, content, shared=True, sync=False)
            files[same_name(name)].append(path)
    if unlabelled:
        say(f"{unlabelled} rows of {what} have no image or no label, and are skipped")
    return {key: tuple(paths) for key, paths in files.items() if paths}


def _rows(
    rows: Any, image: str, label: str, trusted: tuple[Path, ...]
) -> Iterator[tuple[bytes | None, str, int | str | None]]:
    """(bytes, suffix, label) of each row; a path in a row is followed into the `trusted` folders only."""
    homes = [folder.resolve() for folder in trusted]
    for row in rows:
        cell = row[image] or {}
        content, named = cell.get("bytes"), cell.get("path") or ""
        if content is None and any(Path(named).resolve().is_relative_to(home) for home in homes):
            with suppress(OSError):
                content = read_bytes(Path(named), limit=MAX_BYTES)
        suffix = PurePath(named).suffix.lower()
        yield content, suffix if suffix in IMAGE_SUFFIXES else ".img", row[label]
