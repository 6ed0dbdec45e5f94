"""The original code's files: its tables of results and of prompts are written, its images are read."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.compat.export_form import MEAN_COLUMN, PROMPT_COLUMNS
from dalda.compat.synthetic_folder import TABLE, images_in, read_table
from dalda.config.experiment import Study
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import SyntheticDataset
from dalda.storage.atomic import write_atomically
from dalda.types import FewShotSplit, GenerationPlan, RealImage, SyntheticImage, TrialResult
from dalda.workflows.trials import Task, filled

if TYPE_CHECKING:
    from dalda.compat.protocol import Curves

RESULT_COLUMNS = ("", "seed", "examples_per_class", "epoch", "value", "metric", "split")

Curve = dict[str, list[list[float]]]
"""Part and number, as `training_loss`, to [epochs][classes]."""


def as_curve(curves: "Curves") -> Curve:
    """The same as plain JSON values."""
    from dataclasses import fields

    return {part.name: getattr(curves, part.name).tolist() for part in fields(curves)}


def result_rows(result: TrialResult, curve: Curve | None, epochs: int) -> Iterable[list[Any]]:
    """One trial in the original code's schema: each epoch of the curve; without one, the last epoch
    alone."""
    start = [result.seed, result.shots]
    if curve is None:
        shares = [value for value in result.class_accuracy if value == value]
        yield [*start, epochs - 1, result.loss, "Loss", "Validation"]
        yield [*start, epochs - 1, sum(shares) / len(shares), "Accuracy", "Validation"]
        for name, value in zip(result.classes, result.class_accuracy, strict=True):
            yield [*start, epochs - 1, value, f"Accuracy {name.title()}", "Validation"]
        return
    parts = ("training", "validation")
    for epoch in range(len(curve["training_loss"])):
        for metric in ("loss", "accuracy"):
            for part in parts:
                seen = [value for value in curve[f"{part}_{metric}"][epoch] if value == value]
                mean = sum(seen) / len(seen)
                yield [*start, epoch, mean, metric.title(), part.title()]
        for number, name in enumerate(result.classes):
            for metric in ("loss", "accuracy"):
                for part in parts:
                    value = curve[f"{part}_{metric}"][epoch][number]
                    yield [*start, epoch, value, f"{metric.title()} {name.title()}", part.title()]


def write_results(folder: Path, trials: Sequence[tuple[TrialResult, Curve | None]], epochs: int) -> None:
    """results_{seed}_{shots}.csv, each with the rows of all trials up to and including its own."""
    rows: list[list[Any]] = []
    for result, curve in trials:
        rows += result_rows(result, curve, epochs)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(RESULT_COLUMNS)
        writer.writerows([number, *row] for number, row in enumerate(rows))
        name = f"results_{result.seed}_{result.shots or 'all'}.csv"
        write_atomically(folder / name, text.getvalue(), sync=False)


def write_prompts(folder: Path, plan: GenerationPlan, store: SyntheticDataset) -> None:
    """What was made of what, in the original code's columns, beside the set."""
    paths = {sample.request_id: sample.path for sample in store.samples()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*PROMPT_COLUMNS, MEAN_COLUMN])
    for request in plan.requests:
        if request.id in paths:
            weight, mean = request.ip_adapter_scale, request.ip_adapter_scale_mean
            writer.writerow(
                [
                    request.source,
                    paths[request.id],
                    request.prompt,
                    weight,
                    request.source_clip_probability,
                    mean,
                ]
            )
    write_atomically(folder / TABLE, text.getvalue(), sync=False)


def left_by_original(study: Study, task: Task) -> tuple[list[SyntheticImage], int | None]:
    """The images of a set that the original code made before, and how many of its requests they are.

    None for the number where they are all of the set: `resume` lies beyond it. Raises UserError where
    `resume` says that images exist which do not.
    """
    spec = task.spec
    if study.resume is None or study.synthetic_dir is None or task.synthetic is None:
        return [], 0
    seed, shots, index, repeat = study.resume
    order = [(one, many) for one in study.seeds for many in study.shots]
    if (seed, shots) not in order:
        raise UserError(f"resume names seed {seed} and {shots} shots, which are not in the study")
    here, there = order.index((spec.train.seed, spec.train.shots)), order.index((seed, shots))
    if here > there:
        return [], 0
    last = index * task.synthetic.per_image + repeat if here == there else None
    folder = Path(filled(study.synthetic_dir, spec))
    found = read_reference_set(folder, task.split, task.synthetic.per_image)
    kept = [sample for number, sample in found.items() if last is None or number <= last]
    wanted = len(task.split.images) * task.synthetic.per_image if last is None else last + 1
    if len(kept) < wanted:
        raise UserError(
            f"resume says that {wanted} images are in '{folder}', but there are {len(kept)}; "
            "set resume to None to begin from the start"
        )
    return kept, None if last is None else wanted


def place_of(out: Path, skip: int) -> Path:
    """Where a set is generated: beside the original code's own images, among which nothing is written."""
    return out / "dalda" if skip else out


def read_reference_set(folder: Path, split: FewShotSplit, per_image: int) -> dict[int, SyntheticImage]:
    """The original code's images aug-{index}-{repeat}.png, by their number in its order of work.

    Raises UserError for a table that is none, and for a source that is not in the split.
    """
    there = images_in(folder) if folder.is_dir() else set()
    found = {}
    for row in read_table(folder):
        if row.name in there:
            source = _source(row.source, split)
            found[row.index * per_image + row.repeat] = SyntheticImage(
                path=folder / row.name,
                label=source.label,
                source=source.path,
                source_sha256=source.sha256,
                repeat=row.repeat,
                request_id=f"aug-{row.index}-{row.repeat}",
                prompt=row.prompt,
                ip_adapter_scale=row.ip_adapter_scale,
                source_clip_probability=row.source_clip_probability,
            )
    return found


def _source(parts: Sequence[str], split: FewShotSplit) -> RealImage:
    """The example that a path, written on another machine, means: by its name, then by its folder."""
    alike = [one for one in split.images if one.path.name == parts[-1]]
    if len(alike) > 1:
        alike = [one for one in alike if one.path.parts[-2:] == tuple(parts[-2:])]
    if len(alike) != 1:
        raise UserError(
            f"'{'/'.join(parts)}', of which the original code made images, is not among the examples; "
            "set resume to None to begin from the start"
        )
    return alike[0]


def read_curve(path: Path) -> Curve | None:
    """The curve that was kept, if one was."""
    found: Curve | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found
