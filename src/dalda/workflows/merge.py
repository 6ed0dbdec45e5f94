"""Joins synthetic sets that were generated apart, as shards of one plan, into one folder."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dalda.config import MergeConfig
from dalda.errors import UserError
from dalda.generation.folder_names import folder_name
from dalda.generation.set_settings import read_settings, refuse_other, write_settings
from dalda.generation.sharding import division_for, part_for
from dalda.generation.source_probabilities import (
    PROBABILITIES,
    clip_of_probabilities,
    read_probabilities,
    write_probabilities,
)
from dalda.generation.synthetic_dataset import DROPPED, METADATA, TRAIN, SyntheticDataset
from dalda.progress import say
from dalda.review.log import REVIEW, ReviewLog
from dalda.storage import exists, jsonl, link_or_copy, list_folder, make_folder, path_of, whole_folder
from dalda.workflows.fitting import CONCEPTS
from dalda.workflows.synthetic_sets import refuse_output_beside, written_suffix

ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class MergeReport:
    """The images of several sets in one folder."""

    out: Path
    sets: int
    images: int
    dropped: int
    missing: int
    """Planned images that no set has."""


def merge(config: MergeConfig) -> MergeReport:
    """Joins the sets `config.places` at `config.out`, complete or not at all; the sets stay as they are.

    Raises UserError for sets of different settings, and for images that no one plan could have.
    """
    os.fspath(config.out)  # an address is refused before any work
    sets = [SyntheticDataset.existing(place) for place in config.places]
    settings = read_settings(sets[0].folder)
    for dataset in sets[1:]:
        refuse_other(dataset.folder, read_settings(dataset.folder), settings)
    count = 0
    for dataset in sets:
        sources: set[tuple[str, str]] = set()
        for line in dataset.lines():
            sources.add((line["source"], line["label"]))
            count += 1
        refuse_output_beside(config.out, dataset.folder, ((path_of(x), label) for x, label in sources))
    extents = [dataset.extent() for dataset in sets]
    planned = _planned(extents)
    with whole_folder(config.out) as out:
        write_settings(out, {**settings, "extent": {**extents[0], "planned": planned}})
        make_folder(out / TRAIN)
        _join_probabilities(config.places, out)
        _join_concepts(config.places, out)
        division = division_for(max(planned, count))
        images = _join_images(sets, SyntheticDataset(out, division=division))
        dropped = {str(line["request_id"]): line for dataset in sets for line in dataset.dropped()}
        dropped = {name: line for name, line in dropped.items() if name not in images}
        if dropped:
            jsonl.append(out / DROPPED, dropped.values(), root=out)
        decisions = [decision for place in config.places for decision in ReviewLog(place).decisions()]
        if decisions:
            decisions.sort(key=lambda decision: decision.time)  # the last one about an image holds
            jsonl.append(out / REVIEW, map(asdict, decisions), root=out)
    missing = max(0, planned - len(images) - len(dropped))
    return MergeReport(config.out, len(sets), len(images), len(dropped), missing)


def _planned(extents: Sequence[Mapping[str, Any]]) -> int:
    """How many images there are to be: sets of one seed are parts of a plan, those of others are more."""
    by_seed: dict[str, int] = {}
    for extent in extents:
        seed, number = str(extent.get("seed")), extent.get("planned")
        by_seed[seed] = max(by_seed.get(seed, 0), number if isinstance(number, int) else 0)
    return sum(by_seed.values())


def _join_images(sets: Sequence[SyntheticDataset], joined: SyntheticDataset) -> dict[str, str]:
    """Links or copies all images, set by set. Returns the hash of each by request id."""
    hashes: dict[str, str] = {}
    requested: dict[tuple[str, str, int], str] = {}
    for number, dataset in enumerate(sets, 1):
        say(f"set {number} of {len(sets)}: {dataset.folder}")
        new: dict[Path, list[Mapping[str, Any]]] = defaultdict(list)
        for line in dataset.records():
            name, sha256 = line["request_id"], str(line.get("sha256"))
            _refuse_second(dataset, line, hashes.get(name, sha256), requested)
            if name in hashes:
                continue
            hashes[name] = sha256
            path = dataset.folder / TRAIN / line["file_name"]
            file_name = f"{folder_name(line['label'])}/{name}{written_suffix(dataset.folder, name, path)}"
            part = joined.folder / TRAIN / part_for(name, "", joined.division)
            link_or_copy(path, part / file_name, root=joined.folder)
            new[part].append({**line, "file_name": file_name})
            if len(new[part]) == ROWS_AT_ONCE:
                jsonl.append(part / METADATA, new.pop(part), root=joined.folder)
        for part, lines in new.items():
            jsonl.append(part / METADATA, lines, root=joined.folder)
    return hashes


def _refuse_second(
    dataset: SyntheticDataset,
    line: Mapping[str, Any],
    sha256: str,
    requested: dict[tuple[str, str, int], str],
) -> None:
    """Raises UserError for an image that is there with other bytes, or was requested in another way."""
    name, source = str(line["request_id"]), str(line["source_sha256"])
    if line.get("seed") is not None and not line.get("retried_for"):
        first = requested.setdefault((line["label"], source, line["seed"]), name)
        if first != name:
            raise UserError(
                f"'{dataset.folder}' holds the image {name}, another set {first} of the same source and "
                "seed: they are no shards of one plan; generate them with the same settings and captions"
            )
    if sha256 != str(line.get("sha256")):
        raise UserError(
            f"two sets hold different images for the request {name}, one of them '{dataset.folder}'; "
            "they were generated on different devices: leave one of the sets out"
        )


def _join_concepts(places: Sequence[Path], out: Path) -> None:
    """Tokens and LoRAs that were learned for the images; those of one name are of one training."""
    for place in places:
        for name in list_folder(place / CONCEPTS):
            target = out / CONCEPTS / name
            if re.fullmatch(r"[0-9a-f]{8,64}\.(json|safetensors)", name) and not exists(target):
                link_or_copy(place / CONCEPTS / name, target, root=out)


def _join_probabilities(places: Sequence[Path], out: Path) -> None:
    """Raises UserError where sets were begun with different ones: their requests belong to two plans."""
    for place in places:
        clip = clip_of_probabilities(place)
        if clip is not None:
            found = read_probabilities(place, clip, without_images=True)
            known = read_probabilities(out, clip, without_images=True)
            if exists(out / PROBABILITIES) and clip_of_probabilities(out) != clip:
                raise UserError(f"'{place}' was generated with another CLIP than the other sets")
            if any(known.get(key, value) != value for key, value in found.items()):
                raise UserError(
                    f"'{place}' was begun with other CLIP class probabilities than the other sets, so that "
                    "their requests differ; copy source_probabilities.json to a shard before it begins"
                )
            write_probabilities(out, clip, found, without_images=True)
