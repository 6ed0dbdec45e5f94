"""From folders of results and of images to one page that shows it all."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dalda.config import ReportConfig
from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import read_settings
from dalda.reporting.report import Budget, Page, SetPart, report_page
from dalda.workflows.clip_of_set import sight_of
from dalda.workflows.report.facts import excluded
from dalda.workflows.report.images import part_of
from dalda.workflows.report.images_look import share, with_looks
from dalda.workflows.report.run_facts import run_facts
from dalda.workflows.report.sources import Material, material_of
from dalda.workflows.reports import PageReport
from dalda.workflows.results import Found, found_in
from dalda.workflows.synthetic_sets import synthetic_set

MOST_SETS = 4
PICTURE_BYTES = 9_000_000
"""Of all thumbnails: 12 MB as text, so that the page stays below 15."""
SAME_FOR_ALL = {"seed", "shots", "examples", "examples_sha256", "captions_sha256", "rendering", "versions"}
"""Settings in which sets of one kind may differ."""


def report(config: ReportConfig) -> PageReport:
    """Writes one self-contained HTML page about runs and synthetic sets.

    Raises UserError where there is nothing to show, and when another file has that name.
    """
    from dalda.storage import write_new

    started = time.monotonic()
    if config.out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"the report '{config.out}' must end in .html")
    found = found_in(config.places)
    chosen = one_of_each_kind(found.sets)
    materials = {
        name: material_of(synthetic_set(folder, ignore_review=config.ignore_review))
        for name, folder in chosen.items()
    }
    parts = [
        _part(number, name, one, config, len(chosen))
        for number, (name, one) in enumerate(materials.items())
    ]
    page = page_of(config, found, materials, parts)
    html = report_page(page).encode("utf-8", "replace")
    write_new(config.out, html)
    return PageReport(
        path=config.out,
        headline=page.headline,
        trials=len(found.results),
        sets=len(found.sets),
        images=sum(len(one.samples) for one in materials.values()),
        shown=sum(len(row.copies) for part in parts for one in part.classes for row in one.rows),
        rejected=sum(len(one.made.rejected) for one in materials.values()),
        megabytes=round(len(html) / 1e6, 2),
        seconds=round(time.monotonic() - started, 2),
    )


def one_of_each_kind(sets: Mapping[Path, str]) -> dict[str, Path]:
    """Of sets that differ in seed and shots only, the first; at most `MOST_SETS`, by the names they get."""
    kinds: dict[str, Path] = {}
    for folder, arms in sets.items():
        settings = {key: value for key, value in read_settings(folder).items() if key not in SAME_FOR_ALL}
        kinds.setdefault(f"{re.sub('[0-9]+', '', arms or folder.resolve().name)} {settings}", folder)
    named: dict[str, Path] = {}
    for folder in list(kinds.values())[:MOST_SETS]:
        name = sets[folder] or folder.resolve().name
        named[name if name not in named else f"{name} ({len(named) + 1})"] = folder
    return named


def _part(number: int, name: str, material: Material, config: ReportConfig, sets: int) -> SetPart:
    # A share is kept for what CLIP points out: there is always room for that.
    bytes_each = PICTURE_BYTES // sets
    looked = Budget(bytes_each // 4, open_image)
    part = part_of(name, material, Budget(bytes_each - looked.bytes, open_image), f"weights{number}")
    try:
        return with_looks(part, material, sight_of(material.settings, config.device), looked)
    except UserError as error:
        said = str(error)
        return replace(part, unseen=f"Not told: {said}; dalda doctor says which models are there.")


def page_of(
    config: ReportConfig, found: Found, materials: Mapping[str, Material], parts: Sequence[SetPart]
) -> Page:
    """The page, the answer first: from trials where there are any, else from the images."""
    names = ", ".join(dict.fromkeys(place.resolve().name for place in config.places))
    title = f"dalda report: {names}"
    others = len(found.sets) - len(materials)
    other_sets = (
        f"{others} more sets, of other seeds, shots or kinds, are not shown; name one of their folders."
        if others
        else ""
    )
    if not found.results:
        headline, sentences = _of_images(materials, parts)
        facts = {"Trials": "none here", "Synthetic sets": str(len(found.sets))}
        if len(parts) == 1:
            # What was run is this set, so its settings are told there.
            facts, parts = dict(parts[0].facts), [replace(parts[0], facts={})]
        return Page(title, headline, sentences, facts=facts, sets=tuple(parts), other_sets=other_sets)
    from dalda.workflows.report.numbers import answer, arm_table, class_tables, groups_of, shots_charts

    groups = groups_of({name: run.results for name, run in found.runs.items()})
    headline, sentences = answer(groups)
    return Page(
        title,
        headline,
        sentences,
        arms=tuple(arm_table(number, key, arms) for number, (key, arms) in enumerate(groups.items())),
        shots_charts=shots_charts(groups),
        facts=run_facts(found),
        classes=class_tables(groups),
        sets=tuple(parts),
        other_sets=other_sets,
    )


def _of_images(materials: Mapping[str, Material], parts: Sequence[SetPart]) -> tuple[str, tuple[str, ...]]:
    """What can be said where no classifier was trained."""
    images = sum(len(one.samples) for one in materials.values())
    real = len(
        {key for one in materials.values() for key in {(s.label, s.source_sha256) for s in one.samples}}
    )
    sentences = [
        "Whether they help a classifier was not measured: "
        "dalda train tells, and its folder can be named beside this one."
    ]
    for part, material in zip(parts, materials.values(), strict=True):
        about = f"{part.name}: " if len(parts) > 1 else ""
        if part.doubtful_say:
            sentences += [about + part.doubtful_say.partition(". ")[0] + ".", about + part.near_say]
        gone = sum(excluded(material).values())
        if gone:
            said = share(gone, gone + len(material.samples))
            sentences.append(f"{about}{gone} ({said}) were left out; the page says why.")
    return f"{images} synthetic images were made from {real} real ones.", tuple(sentences)
