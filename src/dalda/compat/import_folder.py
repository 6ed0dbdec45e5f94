"""From a folder that the original DALDA code made to a synthetic set like any other."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dalda.compat.prompt_table import TABLE, PromptRow, closest, images_in, read_table
from dalda.config import ImportConfig
from dalda.datasets.class_names import same_name
from dalda.datasets.image_folder import ImageDataset, refuse_output_inside
from dalda.datasets.image_io import DECODERS, open_image, sha256_of
from dalda.datasets.registry import load_dataset
from dalda.errors import UserError
from dalda.generation.image_encoding import FORMATS, REPEATED, EncodedImage, encode
from dalda.generation.records import Dropped, Finished
from dalda.generation.sharding import division_for
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.models.fingerprint import contents_of
from dalda.models.presets import Preset, preset_named
from dalda.progress import progress, say
from dalda.types import GenerationRequest, RealImage
from dalda.workflows.reports import ImportReport

METHOD = "original"
AT_A_TIME = 64
"""Images read between two notes on the disk."""
_Images = Mapping[Path, GenerationRequest]
"""The images of the folder, with their requests."""


def import_original(config: ImportConfig) -> ImportReport:
    """Copies the images of `config.folder`, with all that its table says of them, into `config.out`.

    Each image's source is found in the data set by its name. The folder stays as it is; images of one
    colour and repeated ones are dropped with a reason, as after generation. An interrupted import resumes.
    Raises UserError for a table or image that cannot be used, and for a source that is not there.
    """
    rows = read_table(config.folder)
    files = images_in(config.folder)
    used = [row for row in rows if row.name in files]
    if not used:
        raise UserError(f"'{config.folder}' holds none of the images that its {TABLE} names")
    dataset = load_dataset(config.dataset, config.root)
    refuse_output_inside(config.out, dataset)
    sources = _sources(used, dataset)
    preset = preset_named(config.model)
    model = contents_of(config.model, preset).get("model", config.model)
    images = {
        config.folder / row.name: _request(row, sources[row.index], model, preset, config) for row in used
    }
    division = division_for(len(images))
    store = SyntheticDataset.open(config.out, _settings(config, preset, images), division=division)
    unknown = tuple(name for name, value in _known(config).items() if value is None)
    skipped = _copy(images, store, config.on_bad_image, unknown)
    _, reasons = store.reasons()
    return ImportReport(
        out=config.out,
        images=len(images),
        kept=len(store.finished()) - sum(reasons.values()),
        dropped_for=dict(reasons),
        skipped=skipped,
        rows_without_image=len(rows) - len(used),
        images_without_row=len(files - {row.name for row in rows}),
    )


def _sources(rows: Sequence[PromptRow], catalog: ImageDataset) -> dict[int, RealImage]:
    """The example behind each index: the one whose path ends most like the table's, and no other does."""
    labels = {path: label for label, files in catalog.parts["train"].items() for path in files}
    named = defaultdict(list)
    for path in labels:
        named[same_name(path.name)].append(path)
    sources = {}
    for row in {row.index: row for row in rows}.values():
        found = closest(row.source, named[same_name(row.source[-1])])
        if len(found) != 1:
            problem = "is not in" if not found else f"could be {len(found)} images of"
            raise UserError(
                f"'{'/'.join(row.source)}', the source of {row.name}, {problem} {catalog.dataset}; "
                "name the data set that the images were made from"
            )
        sources[row.index] = found[0]
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(sha256_of, sources.values())
        return {
            index: RealImage(path, labels[path], sha256)
            for (index, path), sha256 in zip(sources.items(), hashes, strict=True)
        }


def _known(config: ImportConfig) -> dict[str, Any]:
    """What the folder does not say of its images, and the user may."""
    return {"steps": config.steps, "guidance_scale": config.guidance_scale}


def _request(
    row: PromptRow, source: RealImage, model: str, preset: Preset, config: ImportConfig
) -> GenerationRequest:
    """The request that would have generated the row's image."""
    return GenerationRequest(
        source=source.path,
        source_sha256=source.sha256,
        label=source.label,
        index=row.repeat,
        method=METHOD,
        generator=model,
        prompt=row.prompt,
        negative_prompt=preset.negative_prompt,
        ip_adapter_scale=row.ip_adapter_scale,
        ip_adapter_scale_mean=row.mean,
        source_clip_probability=row.source_clip_probability,
        guidance_scale=config.guidance_scale or 0.0,
        steps=config.steps or 0,
        # Nobody knows the seed, and none is recorded; the index tells two sources of equal bytes apart.
        seed=row.index,
    )


def _settings(config: ImportConfig, preset: Preset, images: _Images) -> dict[str, Any]:
    requests = "\n".join(request.id for request in images.values())
    return {
        "dataset": config.dataset,
        "model": config.model,
        "method": METHOD,
        "format": "png",
        "images": len(images),
        "images_sha256": hashlib.sha256(requests.encode()).hexdigest()[:20],
        "preset": {**asdict(preset), **_known(config)},
        "versions": {"dalda": version("dalda")},
    }


def _copy(
    images: _Images, store: SyntheticDataset, on_bad_image: str, unknown: tuple[str, ...]
) -> tuple[str, ...]:
    """Adds what the store lacks; the sentences on images that could not be read."""
    skipped: list[str] = []
    requests = list(images.values())
    if {request.id for request in requests} <= store.finished() and store.is_settled(requests):
        return ()
    with store.held():
        # Known only now that no other process adds any.
        done = store.finished()
        missing = [path for path, request in images.items() if request.id not in done]
        with progress("import", len(missing)) as bar, ThreadPoolExecutor(DECODERS) as pool:
            hashes = store.hashes()
            for start in range(0, len(missing), AT_A_TIME):
                batch = missing[start : start + AT_A_TIME]
                finished, dropped = [], []
                for path, encoded in zip(batch, pool.map(_read, batch), strict=True):
                    if isinstance(encoded, UserError):
                        if on_bad_image == "stop":
                            raise UserError(f"{encoded}; --on-bad-image skip skips such images")
                        skipped.append(str(encoded))
                    elif reason := encoded.invalid or (REPEATED if encoded.sha256 in hashes else None):
                        dropped.append(Dropped(images[path], reason, seed=None, unknown=unknown))
                    else:
                        hashes.add(encoded.sha256)
                        finished.append(Finished(images[path], encoded, seed=None, unknown=unknown))
                store.add(finished, dropped)
                bar.advance(len(batch))
        store.settle(requests)
    if skipped:
        say(f"note: {len(skipped)} of {len(images)} images are skipped, as {skipped[0]}")
    return tuple(skipped)


def _read(path: Path) -> EncodedImage | UserError:
    try:
        return encode(open_image(path), FORMATS["png"])
    except UserError as error:
        return error
