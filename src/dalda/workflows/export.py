"""Exports a synthetic set in a form that other programs read, with its real images if asked for."""

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from dalda.config import ExportConfig
from dalda.datasets.image_io import IMAGE_SUFFIXES, check_image, sha256_of
from dalda.errors import UserError
from dalda.generation.recorded_set import shared
from dalda.generation.set_settings import read_settings
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.progress import progress
from dalda.reporting.data_card import CARD, data_card
from dalda.reporting.export_folder import ExportFolder, ExportImage
from dalda.reporting.export_forms import EXPORT_FORMS, table_of
from dalda.reporting.export_names import ExportNames
from dalda.reporting.text import is_path
from dalda.storage import path_of, whole_folder, write_new
from dalda.types import GenerationRequest, SyntheticImage
from dalda.workflows.reports import ExportReport
from dalda.workflows.synthetic_sets import refuse_output_beside, synthetic_set, written_suffix

CSV = "csv"
PATHS = {item.name for item in fields(GenerationRequest) if "Path" in str(item.type)}
"""What a record says of files, all of them real images or masks."""


def export(config: ExportConfig, *, without_paths: bool = False) -> ExportReport:
    """Writes the set `config.source` in the form `config.to` at `config.out`, complete or not at all.

    With `without_paths` the metadata have the names of files and folders of this disk alone.

    Raises UserError for an unknown form, an output that exists, an image that is not the one its metadata
    describes, and real images where the form has no place for them.
    """
    form = EXPORT_FORMS.get(config.to)
    if form is None and config.to != CSV:
        forms = ", ".join([*EXPORT_FORMS, CSV, "onnx"])
        raise UserError(f"--to cannot be '{config.to}'; choose one of {forms}")
    if form is not None and config.with_real and not form.holds_real_images:
        raise UserError(f"the form '{config.to}' holds no real images; leave --with-real out")
    if config.readable_names and (form is None or not form.names_files):
        raise UserError(f"the form '{config.to}' has names of its own; leave --readable-names out")
    _refuse_existing(config.out)
    if form is not None:
        os.fspath(config.out)  # an address is refused before any work
    settings = read_settings(config.source)
    dataset = synthetic_set(config.source, ignore_review=config.ignore_review)
    recorded = SyntheticDataset.existing(config.source)
    records = {str(line["request_id"]): shared(line) for line in recorded.lines()}
    sources = _sources(records, recorded)
    names = ExportNames(config.readable_names)
    real = _real_images(config.source, names) if config.with_real else {}
    synthetic = [
        _synthetic_image(config.source, sample, records.pop(sample.request_id), real, names)
        for sample in dataset.images
    ]
    refuse_output_beside(config.out, config.source, ((x.source, x.label) for x in dataset.images))
    images = [*real.values(), *synthetic]
    if without_paths:
        images = [replace(image, metadata=_without_paths(image.metadata)) for image in images]
    report = ExportReport(config.out, config.to, len(synthetic), len(real), len(dataset.rejected))
    if form is None:
        table = "".join(table_of(images, lambda image: str(image.path.resolve())))
        write_new(config.out, table.encode(errors="backslashreplace"))
        return report
    with whole_folder(config.out) as path, progress("export", len(images)) as bar:
        folder = ExportFolder(path, bar, sources)
        form.write(images, folder)
        if form.card:
            folder.add_file(CARD, data_card(config.source.resolve().name, settings, images))
    report.linked, report.copied, report.files = folder.linked, folder.copied, folder.files
    return report


def _without_paths(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the last part of every path in place of it."""

    def name_of(key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [name_of(key, part) for part in value]
        return Path(value).name if isinstance(value, str) and (key in PATHS or is_path(value)) else value

    return {key: name_of(key, value) for key, value in metadata.items()}


def _sources(records: Mapping[str, Mapping[str, Any]], dataset: SyntheticDataset) -> list[tuple[str, str]]:
    """(class, SHA-256) of the source images, class by class, those without an image last in their class."""
    lines = (*records.values(), *dataset.dropped())
    sources = dict.fromkeys((str(line["label"]), str(line["source_sha256"])) for line in lines)
    classes = {label: number for number, label in enumerate(dict.fromkeys(x for x, _ in sources))}
    return sorted(sources, key=lambda source: classes[source[0]])


def _refuse_existing(out: Path) -> None:
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UserError(f"'{out}' exists already and is not overwritten; name another with -o")


def _synthetic_image(
    folder: Path,
    sample: SyntheticImage,
    record: Mapping[str, Any],
    real: Mapping[tuple[str, str], ExportImage],
    names: ExportNames,
) -> ExportImage:
    """An image of the set; refused unless its name is harmless and its file is the one that was generated.

    Where the real images are exported too, `source` is the new name of its source image.
    """
    suffix = written_suffix(folder, sample.request_id, sample.path)
    if "sha256" in record and sha256_of(sample.path) != record["sha256"]:
        raise UserError(
            f"the image '{sample.path}' is not the one that was generated; "
            "delete it and run dalda augment again, or reject it in dalda review"
        )
    metadata = {**record, "origin": "synthetic"}
    metadata.pop("file_name", None)
    source = real.get((sample.label, sample.source_sha256))
    if source is not None:
        metadata["source"] = source.relative_path
    return ExportImage(sample.path, sample.label, names.synthetic(record, suffix), metadata)


def _real_images(folder: Path, names: ExportNames) -> dict[tuple[str, str], ExportImage]:
    """Each source image of the set once, by class and hash; also those whose images were all dropped.

    Raises UserError for one that is missing or has changed.
    """
    dataset = SyntheticDataset.existing(folder)
    images: dict[tuple[str, str], ExportImage] = {}
    for line in chain(dataset.lines(), dataset.dropped()):
        label, sha256 = str(line["label"]), str(line["source_sha256"])
        if (label, sha256) in images:
            continue
        path = path_of(str(line["source"]))
        suffix = path.suffix.lower()
        if suffix not in IMAGE_SUFFIXES or not path.is_file() or sha256_of(path) != sha256:
            raise UserError(
                f"the real image '{path}' is missing or has changed; put it back, or leave --with-real out"
            )
        check_image(path)
        metadata = {"label": label, "origin": "real", "source": path.as_posix(), "source_sha256": sha256}
        images[label, sha256] = ExportImage(path, label, names.real(label, path, sha256), metadata)
    return images
