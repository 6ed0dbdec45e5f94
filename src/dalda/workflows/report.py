"""Writes one page about finished runs and synthetic sets."""

import re
import time
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dalda.config import ReportConfig
from dalda.datasets.image_io import sha256_of
from dalda.datasets.registry import DATASETS, PHOTOS
from dalda.errors import UserError
from dalda.evaluation.generative_metrics import ImageMeasures, measure_images
from dalda.evaluation.results import read_run_settings
from dalda.generation.set_settings import read_settings
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.reporting.answer import (
    answer,
    arm_tables,
    class_tables,
    group_results,
    shots_charts,
    shown_warnings,
)
from dalda.reporting.facts import caption_facts, run_facts, set_facts, training_facts
from dalda.reporting.image_set import (
    ClipSection,
    ReportedSet,
    SetSection,
    class_rows,
    clip_section,
    scales_section,
)
from dalda.reporting.page import Page, report_page
from dalda.reporting.text import share_of
from dalda.reporting.thumbnails import ThumbnailBudget, chosen_evenly
from dalda.storage import write_new
from dalda.types import FewShotSplit, RealImage
from dalda.workflows.clip_of_set import classes_of, load_set_clip
from dalda.workflows.reports import PageReport
from dalda.workflows.results import ReportInputs, report_inputs
from dalda.workflows.synthetic_sets import synthetic_set

MOST_SETS = 4
MOST_MEASURED = 10_000
"""Images of a set that CLIP measures: hours of reading would change no figure that is shown."""
THUMBNAIL_BYTES = 9_000_000
"""Of all thumbnails: 12 MB as text, so that the page stays below 15."""


def report(config: ReportConfig) -> PageReport:
    """Writes one self-contained HTML page about runs and synthetic sets.

    Raises UserError where there is nothing to show, and when another file has that name.
    """
    started = time.monotonic()
    if config.out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"the report '{config.out}' must end in .html")
    opened = config.out.resolve().as_uri() if config.open else ""
    inputs = report_inputs(config.places)
    folders = sets_to_show(inputs.sets)
    sets = {name: read_set(folder, config.ignore_review) for name, folder in folders.items()}
    sections: list[SetSection] = []
    for name, dataset in sets.items():
        # A share is kept for what CLIP points out, so that there is always room for it.
        budget = ThumbnailBudget(THUMBNAIL_BYTES // len(sets) // 4)
        rows = ThumbnailBudget(3 * budget.bytes)
        sections.append(
            section_of(name, dataset, rows, clip_of(dataset, config.device, budget), len(sections))
        )
    page = page_of(config, inputs, sets, sections)
    html = report_page(page).encode("utf-8", "replace")
    write_new(config.out, html)
    if opened:
        webbrowser.open(opened)
    return PageReport(
        path=config.out,
        headline=page.headline,
        warnings=tuple(page.warnings),
        trials=len(inputs.results),
        sets=len(inputs.sets),
        images=sum(len(dataset.images) for dataset in sets.values()),
        shown=sum(len(row.synthetic) for part in sections for shown in part.classes for row in shown.rows),
        rejected=sum(dataset.rejected for dataset in sets.values()),
        megabytes=round(len(html) / 1e6, 2),
        seconds=round(time.monotonic() - started, 2),
    )


def sets_to_show(sets: Mapping[Path, str]) -> dict[str, Path]:
    """Of sets in one folder whose names differ in numbers alone, the first; at most `MOST_SETS`."""
    kinds: dict[tuple[Path, str], Path] = {}
    for folder, arms in sets.items():
        place = folder.resolve()
        kinds.setdefault((place.parent, arms or re.sub("[0-9]+", "", place.name)), folder)
    named: dict[str, Path] = {}
    for folder in list(kinds.values())[:MOST_SETS]:
        name = sets[folder] or folder.resolve().name
        named[name if name not in named else f"{name} ({len(named) + 1})"] = folder
    return named


def read_set(folder: Path, ignore_review: bool) -> ReportedSet:
    """Reads what a set was generated with, and finds its source images again."""
    dataset = synthetic_set(folder, ignore_review=ignore_review)
    store = SyntheticDataset.existing(folder)
    real = {}
    for (label, sha256), path in {(x.label, x.source_sha256): x.source for x in dataset.images}.items():
        try:
            unchanged = sha256_of(path) == sha256
        except UserError:
            unchanged = False
        if unchanged:
            real[label, sha256] = RealImage(path, label, sha256)
    rejected = len(dataset.rejected)
    return ReportedSet(
        dataset.images, rejected, read_settings(folder), classes_of(store), store.dropped(), real
    )


def section_of(
    name: str, dataset: ReportedSet, budget: ThumbnailBudget, clip: ClipSection | str, number: int
) -> SetSection:
    """All that the page shows of a set."""
    rows, sampled = class_rows(dataset, budget)
    return SetSection(
        name=name,
        facts=set_facts(dataset),
        classes=rows,
        sampled=sampled,
        scales=scales_section(dataset, f"scales{number}"),
        clip=clip,
        excluded=dataset.excluded(),
        captions=caption_facts(dataset),
    )


def clip_of(dataset: ReportedSet, device: str, budget: ThumbnailBudget) -> ClipSection | str:
    """The section on CLIP class probabilities, or the reason why there is none."""
    try:
        return clip_section(dataset, looks_of(dataset, device), budget)
    except UserError as error:
        return f"Not known: {error}; dalda doctor shows which models are on disk."


def looks_of(dataset: ReportedSet, device: str) -> Sequence[ImageMeasures]:
    """Each image as the CLIP of the set's settings describes it. Raises UserError where it cannot."""
    if not dataset.real:
        raise UserError("the real images are no longer where they were, so nothing can be compared")
    split = FewShotSplit(
        dataset=str(dataset.settings.get("dataset", "")),
        root=Path(),
        part="train",
        seed=0,
        shots=None,
        classes=tuple(dataset.labels),
        images=tuple(dataset.real.values()),
    )
    return measure_images(
        split, chosen_evenly(dataset.images, MOST_MEASURED), load_set_clip(dataset.settings, device)
    )


def page_of(
    config: ReportConfig,
    inputs: ReportInputs,
    sets: Mapping[str, ReportedSet],
    sections: Sequence[SetSection],
) -> Page:
    """The page, the answer first: from trials where there are any, else from the images."""
    title = f"dalda report: {', '.join(dict.fromkeys(place.resolve().name for place in config.places))}"
    others = len(inputs.sets) - len(sets)
    other_sets = f"{others} more sets, of other seeds or shots, are not shown; name one of their folders."
    other_sets = other_sets if others else ""
    if not inputs.results:
        headline, sentences = _answer_of_images(sets, sections)
        facts: Mapping[str, str] = {"Trials": "none here", "Synthetic sets": str(len(inputs.sets))}
        if len(sections) == 1:
            facts, sections = sections[0].facts, [replace(sections[0], facts={})]
        return Page(title, headline, sentences, facts=facts, sets=sections, other_sets=other_sets)
    groups = group_results({name: run.results for name, run in inputs.runs.items()})
    headline, sentences = answer(groups)
    trained = {name: _training_facts(run.folder) for name, run in inputs.runs.items()}
    return Page(
        title,
        headline,
        sentences,
        warnings=shown_warnings(groups),
        arms=arm_tables(groups),
        shots_charts=shots_charts(groups),
        facts=run_facts(inputs.results, trained, len(inputs.sets)),
        classes=class_tables(groups),
        sets=sections,
        other_sets=other_sets,
    )


def _answer_of_images(
    sets: Mapping[str, ReportedSet], sections: Sequence[SetSection]
) -> tuple[str, list[str]]:
    """The answer where no classifier was trained."""
    sources = {(x.label, x.source_sha256) for dataset in sets.values() for x in dataset.images}
    images = sum(len(dataset.images) for dataset in sets.values())
    sentences = [
        "Whether they help a classifier was not measured: "
        "run dalda train, and name its folder beside this one."
    ]
    for section, dataset in zip(sections, sets.values(), strict=True):
        prefix = f"{section.name}: " if len(sections) > 1 else ""
        if isinstance(section.clip, ClipSection):
            sentences += [prefix + section.clip.off_class, prefix + section.clip.near_duplicates]
        excluded = sum(section.excluded.values())
        if excluded:
            share = share_of(excluded, excluded + len(dataset.images))
            sentences.append(f"{prefix}{excluded} ({share}) were excluded; the page lists the reasons.")
    return f"{images} synthetic images were generated from {len(sources)} real images.", sentences


def _training_facts(folder: Path) -> dict[str, str]:
    """How a run's classifiers were trained, as far as the run says; damaged settings say nothing."""
    try:
        run = read_run_settings(folder)
    except UserError:
        return {}
    backbone = run.settings.get("backbone")
    usual = DATASETS.get(str(run.settings.get("dataset")), PHOTOS).backbone
    head = "linear" if run.settings.get("original") else run.settings.get("head")
    own = {"head": head} if head else {}
    arms = [
        {**arm, "backbone": backbone or arm.get("backbone") or usual, **own} for arm in run.arms.values()
    ]
    return training_facts(run.recorded, arms) if arms else {}
