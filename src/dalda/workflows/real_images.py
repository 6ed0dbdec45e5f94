"""From a data set to its few examples and their scores."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.config import DataConfig
from dalda.datasets.few_shot import sample_few_shot
from dalda.datasets.image_io import DECODERS, check_image, open_image
from dalda.datasets.registry import ImageDataset, read_catalog
from dalda.device import device_named
from dalda.errors import UserError
from dalda.models.presets import preset_named
from dalda.progress import progress
from dalda.storage import write_new
from dalda.types import FewShotSplit, RealImage
from dalda.workflows.loading import load_scorer
from dalda.workflows.source_images import refuse_unread

if TYPE_CHECKING:
    from dalda.models.clip import Clip


def load_dataset(dataset: str, root: Path | None = None) -> ImageDataset:
    """A data set by name or folder."""
    return read_catalog(dataset, root)


def split_of(config: DataConfig, part: str = "train", *, hold_out: bool = False) -> FewShotSplit:
    """The examples that the configuration names."""
    return sample_few_shot(
        load_dataset(config.dataset, config.root),
        part=part,
        seed=config.seed,
        shots=config.shots if part == "train" else None,
        split_strategy=config.split_strategy,
        hold_out=hold_out,
    )


def checked(split: FewShotSplit) -> FewShotSplit:
    """The split, once every image of it has been opened. Raises UserError for the first bad one."""
    with ThreadPoolExecutor(DECODERS) as pool:
        list(pool.map(_check, split.images))
    return split


def _check(example: RealImage) -> None:
    check_image(example.path)
    refuse_unread(example)


def score_table(config: DataConfig, model: str, device: str, out: Path | None) -> list[dict[str, Any]]:
    """Path, class and CLIP class probability of each example; written as a new CSV file where one is
    named."""
    if out is not None:
        new_file(out)
    split = checked(split_of(config))
    scores = score_examples(split, load_scorer(preset_named(model).clip, device_named(device)))
    rows: list[dict[str, Any]] = [
        {"path": one.path.as_posix(), "label": one.label, "source_clip_probability": value}
        for one, value in zip(split.images, scores, strict=True)
    ]
    if out is not None:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, ["path", "label", "source_clip_probability"])
        writer.writeheader()
        writer.writerows(rows)
        write_new(out, file.getvalue().encode(errors="backslashreplace"))
    return rows


def score_examples(split: FewShotSplit, scorer: "Clip") -> list[float]:
    """The CLIP class probability of each example, in the split's order; each distinct image is looked at
    once."""
    from dalda.device import is_out_of_memory

    wanted = {(one.sha256, one.label): (one.path, one.label) for one in split.images}
    with progress("score", len(wanted)) as bar:
        found = {}
        numbers = {label: number for number, label in enumerate(split.classes)}
        items = [(path, numbers[label]) for path, label in wanted.values()]
        scored = scorer.scores(items, split.classes, open_image)
        try:
            for key, value in zip(wanted, scored, strict=True):
                found[key] = value
                bar.advance()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(
                "there is not enough memory for CLIP to score the images; free some, or choose another "
                "--device"
            ) from error
    return [found[one.sha256, one.label] for one in split.images]


def new_file(path: Path) -> None:
    """Raises UserError unless a new file may be written there."""
    if path.exists():
        raise UserError(f"'{path}' is already there; name another file, nothing is overwritten")
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder '{path.parent}' for '{path.name}'; make it or name another file"
        )
