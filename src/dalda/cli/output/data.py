"""Lines about data sets."""

from typing import TYPE_CHECKING

from dalda.cli.output.numbers import counted
from dalda.terminal import table

if TYPE_CHECKING:
    from dalda.workflows.inspect_dataset import DatasetReport

SHOWN = 40
"""Classes in a table; a data set of thousands would push the findings off the screen."""
EXAMPLES = 5


def dataset_lines(report: "DatasetReport") -> list[str]:
    parts = list(report.split)
    rows = [(label, *counts.values()) for label, counts in report.classes.items()]
    lines = table([("class", *parts), *rows[:SHOWN]])
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more classes (--json lists all)")
    used = ", ".join(f"{count} for {part}" for part, count in report.split.items())
    lines.append(f"{len(rows)} classes, {sum(report.split.values())} images: {used}")
    if report.shorter_side:
        sides = ", ".join(f"{name} {side}" for name, side in report.shorter_side.items())
        lines.append(f"shorter side in pixels: {sides}")
    if report.imbalance > 1:
        lines.append(
            f"the largest class has {report.imbalance:g} times the training images of the smallest"
        )
    return [*lines, *_findings(report)]


def _findings(report: "DatasetReport") -> list[str]:
    lines = [f"cannot be used: {sentence}" for sentence in report.bad[:EXAMPLES]]
    if len(report.bad) > EXAMPLES:
        lines.append(f"and {len(report.bad) - EXAMPLES} more images that cannot be used")
    if report.duplicates:
        lines.append(f"duplicates within a part: {counted(report.duplicates, 'image')}")
    lines += report.leakage
    if report.unclear:
        from dalda.datasets.class_names import unclear_sentence

        lines.append(unclear_sentence(report.unclear, report.root))
    return lines or ["nothing suspicious was found"]
