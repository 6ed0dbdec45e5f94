"""From a folder that the authors' code made to a synthetic set like any other."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dalda.compat.synthetic_folder import TABLE, Row, pictures_in, read_table
from dalda.config import ImportConfig
from dalda.datasets.image_io import DECODERS, open_image, sha256_of
from dalda.datasets.registry import Catalog
from dalda.errors import UserError
from dalda.generation.image_encoding import FORMATS, REPEATED, Encoded, encode
from dalda.generation.synthetic_dataset import Dropped, Finished, Store
from dalda.models.fingerprint import contents_of
from dalda.models.presets import Preset, preset_named
from dalda.progress import progress, say
from dalda.types import Example, Job
from dalda.workflows.real_images import catalog_of
from dalda.workflows.reports.augment import ImportReport

METHOD = "reference"
AT_A_TIME = 64
"""Pictures read between two notes on the disk."""


@dataclass(frozen=True)
class Found:
    """A picture of the folder, and the job that it would have been."""

    path: Path
    job: Job


def import_reference(config: ImportConfig) -> ImportReport:
    """Copies the pictures of `config.folder`, with all that its table says of them, into `config.out`.

    Each picture's source is found in the data set by its name. The folder stays as it is; pictures of one
    colour and repeated ones are dropped with a reason, as after rendering. Goes on where it was stopped.
    Raises UserError for a table or picture that cannot be used, and for a source that is not there.
    """
    rows = read_table(config.folder)
    there = pictures_in(config.folder)
    used = [row for row in rows if row.name in there]
    if not used:
        raise UserError(f"'{config.folder}' holds none of the pictures that its {TABLE} names")
    sources = _sources(used, catalog_of(config.dataset, config.root))
    preset = preset_named(config.model)
    model = contents_of(config.model, preset).get("model", config.model)
    found = [Found(config.folder / row.name, _job(row, sources[row.index], model, preset)) for row in used]
    store = Store.open(config.out, _settings(config, preset, found))
    skipped = _copy(found, store, config.on_bad_image)
    _, reasons = store.faults()
    return ImportReport(
        out=config.out,
        pictures=len(found),
        kept=len(store.finished()) - sum(reasons.values()),
        dropped_for=dict(reasons),
        skipped=skipped,
        rows_without_picture=len(rows) - len(used),
        pictures_without_row=len(there - {row.name for row in rows}),
    )


def _sources(rows: Sequence[Row], catalog: Catalog) -> dict[int, Example]:
    """The example behind each index: the one whose path ends most like the table's, and no other does."""
    named = defaultdict(list)
    for label, files in catalog.parts["train"].items():
        for path in files:
            named[path.name].append((label, path))
    sources = {}
    for row in {row.index: row for row in rows}.values():
        alike = [(_common(path, row.source), label, path) for label, path in named[row.source[-1]]]
        best = max((count for count, _, _ in alike), default=0)
        closest = [(label, path) for count, label, path in alike if count == best]
        if len(closest) != 1:
            said = "is not in" if not closest else f"could be {len(closest)} pictures of"
            raise UserError(
                f"'{'/'.join(row.source)}', the source of {row.name}, {said} {catalog.dataset}; "
                "name the data set that the pictures were made from"
            )
        ((label, path),) = closest
        sources[row.index] = (label, path)
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(sha256_of, (path for _, path in sources.values()))
        return {
            index: Example(path, label, sha256)
            for (index, (label, path)), sha256 in zip(sources.items(), hashes, strict=True)
        }


def _common(path: Path, parts: Sequence[str]) -> int:
    """How many parts two paths have in common, from their ends."""
    pairs = list(zip(reversed(path.parts), reversed(parts), strict=False))
    return next((count for count, (one, other) in enumerate(pairs) if one != other), len(pairs))


def _job(row: Row, source: Example, model: str, preset: Preset) -> Job:
    return Job(
        source=source.path,
        source_sha256=source.sha256,
        label=source.label,
        repeat=row.repeat,
        method=METHOD,
        model=model,
        prompt=row.prompt,
        negative_prompt=preset.negative_prompt,
        ip_adapter_scale=row.ip_adapter_scale,
        ip_adapter_scale_mean=row.mean,
        clip_score=row.clip_score,
        guidance_scale=preset.guidance_scale,
        strength=None,
        steps=preset.steps,
        # Nobody knows the seed, and none is recorded; the index tells two sources of equal bytes apart.
        seed=row.index,
    )


def _settings(config: ImportConfig, preset: Preset, found: Sequence[Found]) -> dict[str, Any]:
    jobs = "\n".join(one.job.id for one in found)
    return {
        "dataset": config.dataset,
        "model": config.model,
        "method": METHOD,
        "format": "png",
        "pictures": len(found),
        "pictures_sha256": hashlib.sha256(jobs.encode()).hexdigest()[:20],
        "preset": asdict(preset),
        "versions": {"dalda": version("dalda")},
    }


def _copy(found: Sequence[Found], store: Store, on_bad_image: str) -> tuple[str, ...]:
    """Adds what the store lacks; the sentences on pictures that could not be read."""
    skipped: list[str] = []
    jobs = [one.job for one in found]
    if {job.id for job in jobs} <= store.finished() and store.is_settled(jobs):
        return ()
    with store.held():
        # Known only now that no other process adds any.
        done = store.finished()
        missing = [one for one in found if one.job.id not in done]
        with progress("import", len(missing)) as bar, ThreadPoolExecutor(DECODERS) as pool:
            seen = store.hashes()
            for start in range(0, len(missing), AT_A_TIME):
                some = missing[start : start + AT_A_TIME]
                read = dict(zip((one.path for one in some), pool.map(_read, some), strict=True))
                bad = [fault for fault in read.values() if isinstance(fault, UserError)]
                if bad and on_bad_image == "stop":
                    raise UserError(f"{bad[0]}; --on-bad-image skip goes on without")
                skipped += [str(fault) for fault in bad]
                store.add(*_judged(some, read, seen))
                bar.advance(len(some))
        store.settle(jobs)
    if skipped:
        say(f"note: {len(skipped)} of {len(found)} pictures are left out, as {skipped[0]}")
    return tuple(skipped)


def _read(one: Found) -> Encoded | UserError:
    try:
        return encode(open_image(one.path), FORMATS["png"])
    except UserError as error:
        return error


def _judged(
    some: Sequence[Found], read: Mapping[Path, Encoded | UserError], seen: set[str]
) -> tuple[list[Finished], list[Dropped]]:
    """What is kept and what is not; broken pictures are in neither."""
    finished, dropped = [], []
    for one in some:
        picture = read[one.path]
        if isinstance(picture, UserError):
            continue
        fault = picture.fault or (REPEATED if picture.sha256 in seen else None)
        if fault is None:
            seen.add(picture.sha256)
            finished.append(Finished(one.job, picture, seed=None))
        else:
            dropped.append(Dropped(one.job, fault, seed=None))
    return finished, dropped
