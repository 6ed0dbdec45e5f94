"""Lines about captions and synthetic images: generated, imported, reviewed, exported, shown."""

from typing import TYPE_CHECKING

from dalda.cli.output.numbers import by_reason, counted, in_seconds, rejected_lines
from dalda.terminal import table

if TYPE_CHECKING:
    from dalda.captions.generate import CaptionReport
    from dalda.workflows import calibrate, merge, models, push, reports


def augment_lines(report: "reports.AugmentReport") -> list[str]:
    lines = [f"{counted(report.generated, 'image')} generated in {report.seconds:.0f} s: {report.out}"]
    if report.already_there:
        lines.append(f"{report.already_there} of {report.planned} existed already")
    if report.retried_for:
        again = sum(report.retried_for.values())
        lines.append(f"{again} were generated a second time ({by_reason(report.retried_for)})")
    if report.dropped:
        why = by_reason(report.dropped_for)
        lines.append(f"{report.dropped} were dropped ({why}); {report.out}/dropped.jsonl lists them")
    return lines + [f"skipped: {sentence}" for sentence in report.skipped]


def augment_dry_run_lines(report: "reports.AugmentDryRun") -> list[str]:
    quartiles = ", ".join(f"{name} {value:.2f}" for name, value in report.ip_adapter_scale.items())
    lines = [
        f"IP-Adapter scale: {quartiles}",
        f"{report.low_clip_probability} of them follow the image more than the caption: CLIP gives their "
        "real image a class probability of at most 0.3",
    ]
    if report.low_clip_probability is None:
        size = f"{report.download_gigabytes:g} GB" if report.download_gigabytes else "unknown size"
        lines = [
            f"download: {size}, with the first run or by dalda models get",
            "IP-Adapter scales: known once CLIP is on disk, since it decides them",
        ]
    return [
        f"{report.planned} images from {report.images} real images of {report.classes} classes",
        *lines,
        f"time: {in_seconds(report.seconds)}; disk: about {report.megabytes:.1f} MB; nothing was generated",
        *(f"skipped: {sentence}" for sentence in report.skipped),
    ]


def import_original_lines(report: "reports.ImportReport") -> list[str]:
    lines = [f"{report.kept} of {report.images} images are in {report.out}"]
    if report.dropped_for:
        dropped = sum(report.dropped_for.values())
        lines.append(
            f"{dropped} were dropped ({by_reason(report.dropped_for)}): {report.out}/dropped.jsonl"
        )
    if report.rows_without_image:
        lines.append(f"{report.rows_without_image} rows of the table have no image")
    if report.images_without_row:
        lines.append(f"{report.images_without_row} images are not in the table and were excluded")
    return lines + [f"skipped: {sentence}" for sentence in report.skipped]


def merge_lines(report: "merge.MergeReport") -> list[str]:
    lines = [f"{report.images} images of {report.sets} sets: {report.out}"]
    if report.dropped:
        lines.append(f"{report.dropped} were dropped; {report.out}/dropped.jsonl lists them")
    if report.missing:
        lines.append(f"{report.missing} are missing; dalda augment -o {report.out} generates them")
    return lines


def review_lines(report: "reports.ReviewReport") -> list[str]:
    undecided = report.images - report.kept - report.rejected
    lines = [
        f"{report.images} images: {report.kept} kept, {report.rejected} rejected, {undecided} undecided"
    ]
    if report.rejected:
        lines.append(
            f"{report.out}/review.jsonl lists the decisions; train, evaluate, report and export exclude "
            "rejected images"
        )
    return lines


def export_lines(report: "reports.ExportReport") -> list[str]:
    lines = [f"{report.synthetic} synthetic and {report.real} real images: {report.out}"]
    if report.linked:
        lines.append(
            f"{report.linked} are hard links to the existing files, which need no space; a program that "
            "edits one in place edits both"
        )
    return lines + rejected_lines(report.rejected)


def push_lines(report: "push.PushReport") -> list[str]:
    visible = "you alone, and whom you let, can" if report.private else "everybody can"
    lines = [
        f"{report.synthetic} synthetic and {report.real} real images: {report.address}",
        f"{visible} see it",
    ]
    return lines + rejected_lines(report.rejected)


def page_lines(report: "reports.PageReport") -> list[str]:
    lines = [*report.warnings, report.headline, f"report: {report.path} ({report.megabytes:.1f} MB)"]
    if report.shown < report.images:
        lines.append(f"it shows {report.shown} of {report.images} images, and says which")
    return lines + rejected_lines(report.rejected)


def captions_lines(report: "CaptionReport") -> list[str]:
    """The captions by number, their quality, their cost, and what is missing and why."""
    summary = report.summary
    count = sum(len(captions) for captions in report.captions.values())
    each = f"at least {summary.fewest} each"
    lines = [f"{count} captions for {summary.classes} classes, {each}, by {report.llm}: {report.path}"]
    if report.questions:
        tokens = f"{report.tokens_in} tokens in, {report.tokens_out} out"
        lines.append(f"{report.questions} requests, {tokens}; responses on disk are never paid for again")
    if report.tokens_estimated and report.llm != "templates":
        lines.append("the text encoder's limit was checked by estimate: its tokenizer is not on disk")
    if summary.distinct_2 is not None and summary.similarity is not None:
        similarity = f"similarity within a class {summary.similarity:.2f}"
        lines.append(f"distinct-2 {summary.distinct_2:.2f}, {similarity}")
    if summary.rejected:
        lines.append(f"rejected: {by_reason(summary.rejected)}")
    width = max((len(missing.label) for missing in report.missing), default=0)
    for missing in report.missing:
        numbers = f"{missing.captions} of {missing.wanted}"
        lines.append(f"missing: {missing.label:<{width}}  {numbers}  {missing.reason}")
    return [*lines, *([f"stopped: {report.stopped}"] if report.stopped else [])]


def calibrate_lines(report: "calibrate.CalibrateReport") -> list[str]:
    """The curve, and where it is kept."""
    rows = [
        (f"{scale:.2f}", f"{value:.3f}")
        for scale, value in zip(report.scales, report.similarities, strict=True)
    ]
    return [
        *table([("IP-Adapter scale", "similarity to the source"), *rows]),
        f"mean cosine of CLIP features of {report.images} images: {report.path}",
    ]


def models_lines(report: "models.ModelsReport") -> list[str]:
    """A table of the presets, and the machine that they fit or not."""
    heading = ("model", "on disk", "download GB", "memory GB", "fits", "images/s", "licence")
    fits = {"none": "yes", "model": "--offload model", "sequential": "--offload sequential", None: "no"}
    rows = [
        (
            row.name,
            (row.revision or "yes")[:10] if row.on_disk else "no",
            f"{row.download:.1f}",
            f"{row.memory:.1f}",
            fits[row.fits],
            "-" if row.images_per_second is None else f"{row.images_per_second:g}",
            row.licence,
        )
        for row in report.models
    ]
    memory = "of unknown size" if report.memory is None else f"of {report.memory:.1f} GB"
    lines = [f"downloaded: {', '.join(report.downloaded)}"] if report.downloaded else []
    return [*lines, *table([heading, *rows]), f"memory: {report.device}, {memory}"]
