"""Lines about data sets and about the machine."""

from typing import TYPE_CHECKING

from dalda.terminal import table

if TYPE_CHECKING:
    from dalda.cli.actions import DownloadReport, MachineReport, ScoreReport
    from dalda.types import FewShotSplit


def download_lines(report: "DownloadReport") -> list[str]:
    counts = ", ".join(f"{count} {part}" for part, count in report.images.items())
    return [f"{report.dataset}: {report.classes} classes ({counts} images) in {report.root}"]


def split_lines(split: "FewShotSplit") -> list[str]:
    return table([("class", "image"), *((image.label, image.path) for image in split.images)])


def score_lines(report: "ScoreReport") -> list[str]:
    rows = [(row["label"], f"{row['source_clip_probability']:.5f}", row["path"]) for row in report.images]
    low = f"{report.at_most_03} of {len(rows)} images have a CLIP class probability of at most 0.3"
    return [*table([("class", "probability", "image"), *rows]), low]


def doctor_lines(report: "MachineReport") -> list[str]:
    """The checks by group, and what to do about what is missing."""
    width = max(len(check.name) for check in report.checks)
    lines: list[str] = []
    group = ""
    for check in report.checks:
        if check.group != group:
            group = check.group
            lines += [*([""] if lines else []), group]
        lines.append(f"  {check.state:<8} {check.name:<{width}}  {check.found}")
        if check.do:
            lines.append(f"  {'':<8} {'':<{width}}  -> {check.do}")
    return lines
