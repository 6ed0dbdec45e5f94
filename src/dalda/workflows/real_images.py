"""From a data set to its few images, checked before any work begins, and their CLIP class probabilities."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dalda.config import DataConfig
from dalda.datasets.class_names import class_wordings
from dalda.datasets.few_shot import held_out_count, sample_few_shot
from dalda.datasets.image_io import DECODERS, check_image, check_source, open_image
from dalda.datasets.leakage import leaks, validation_copies
from dalda.datasets.registry import load_dataset
from dalda.device import device_named, is_out_of_memory
from dalda.errors import UserError
from dalda.models.presets import preset_named
from dalda.progress import note, progress, say
from dalda.storage import Address, csv_text, write_new
from dalda.types import FewShotSplit, RealImage

if TYPE_CHECKING:
    from dalda.models.clip import Clip


def split_of(config: DataConfig, part: str = "train") -> FewShotSplit:
    """The images of a part that the configuration names; what is held out of train is reported."""
    data = load_dataset(config.dataset, config.root)
    if "val" not in data.parts and not data.halved and config.hold_out:
        counts = [len(files) for files in data.parts["train"].values()]
        if held_out := sum(held_out_count(count, config.hold_out) for count in counts):
            note(
                f"{data.root} has no validation part: {held_out} of its {sum(counts)} images are held out "
                "for validation, the same by every command with this seed (--hold-out 0 uses all)"
            )
    return sample_few_shot(
        data,
        part=part,
        seed=config.seed,
        shots=config.shots if part == "train" else None,
        split_strategy=config.split_strategy,
        hold_out=config.hold_out,
    )


def checked(split: FewShotSplit, validation: FewShotSplit | None = None) -> FewShotSplit:
    """The split, once every image of it has been opened; leakage within it and to `validation` is reported.

    Raises UserError for the first bad image.
    """
    others = () if validation is None else validation.images
    for sentence in leaks(_signed(split.images), _signed(others)):
        note(sentence)
    return split


def report_validation_copies(arm: str, synthetic: Sequence[RealImage], validation: FewShotSplit) -> None:
    """Reports synthetic images of an arm that are nearly the same as a validation image."""
    if found := validation_copies(_signed(synthetic), _signed(validation.images)):
        note(f"{arm}: {found}")


def usable(split: FewShotSplit, on_bad_image: str) -> tuple[FewShotSplit, tuple[str, ...]]:
    """The split without its bad images, and a sentence on each; leakage between classes is reported.

    An image is bad when it is broken, no image at all, or too small or narrow to make new ones from. Raises
    UserError for the first one where `on_bad_image` is `stop`, and where `skip` leaves a class empty.
    """
    with ThreadPoolExecutor(DECODERS) as pool:
        results = list(pool.map(_signature_or_fault, split.images))
    bad = tuple(result for result in results if isinstance(result, str))
    pairs = zip(split.images, results, strict=True)
    good = [(image, result) for image, result in pairs if isinstance(result, bytes)]
    if bad and on_bad_image == "stop":
        more = f", and so {len(bad) - 1} more of {len(results)}" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{more}; --on-bad-image skip skips such images")
    empty = {image.label for image in split.images} - {image.label for image, _ in good}
    if empty:
        raise UserError(f"no image of the class '{min(empty)}' is left: {bad[0]}")
    if bad:
        say(f"note: {len(bad)} of {len(results)} images are left out, as {bad[0]}")
    for sentence in leaks(good):
        note(sentence)
    return replace(split, images=tuple(image for image, _ in good)), bad


def _signed(images: Sequence[RealImage]) -> list[tuple[RealImage, bytes]]:
    """Images with their signatures. Raises UserError for the first bad image."""
    with ThreadPoolExecutor(DECODERS) as pool:
        return list(zip(images, pool.map(_signature, images), strict=True))


def _signature_or_fault(image: RealImage) -> bytes | str:
    try:
        return _signature(image, check_source)
    except UserError as error:
        return str(error)


@lru_cache(maxsize=50_000)
def _signature(image: RealImage, check: Callable[..., bytes] = check_image) -> bytes:
    """An image's signature, from the very bytes that its hash is of. Raises UserError for a bad image."""
    signature = check(image.path, image.sha256 or None)
    if not image.sha256:
        raise UserError(f"{image.path} could not be read at first: run again")
    return signature


def score_table(config: DataConfig, model: str, device: str, out: Path | None) -> list[dict[str, Any]]:
    """Path, class and CLIP class probability of each image; in a new CSV file where one is named."""
    from dalda.models.clip import load_clip

    if out is not None:
        new_file(out)
    preset, device = preset_named(model), device_named(device)
    split = checked(split_of(config))
    scores = score_examples(split, load_clip(preset.clip, device))
    rows: list[dict[str, Any]] = [
        {"path": image.path.as_posix(), "label": image.label, "source_clip_probability": value}
        for image, value in zip(split.images, scores, strict=True)
    ]
    if out is not None:
        header = ("path", "label", "source_clip_probability")
        text = csv_text([header, *(row.values() for row in rows)], line_end="\r\n")
        write_new(out, text.encode(errors="backslashreplace"))
    return rows


def score_examples(split: FewShotSplit, scorer: "Clip") -> list[float]:
    """The CLIP class probability of each image, in the split's order; distinct ones are computed once."""
    numbers = {label: number for number, label in enumerate(split.classes)}
    wanted = {(image.sha256, image.label): (image.path, numbers[image.label]) for image in split.images}
    hashes = {image.path: image.sha256 for image in split.images}
    found: dict[tuple[str, str], float] = {}

    def opened(path: Path) -> Image.Image:
        return open_image(path, sha256=hashes[path], shorter=2 * scorer.size)

    with progress("score", len(wanted)) as bar:
        scored = scorer.scores(wanted.values(), list(class_wordings(split).values()), opened)
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
    return [found[image.sha256, image.label] for image in split.images]


def image_features(split: FewShotSplit, clip: "Clip") -> NDArray[np.float32]:
    """Unnormalised CLIP features of each image, in the split's order: [images, d]."""
    import torch

    rows = []
    with progress("features", len(split.images)) as bar:
        for image in split.images:
            opened = open_image(image.path, shorter=2 * clip.size)
            rows.append(clip.image_features(torch.stack([clip.pixels(opened)])).cpu().numpy()[0])
            bar.advance()
    return np.stack(rows)


def new_file(path: Path) -> None:
    """Raises UserError unless a new file may be written there."""
    if path.exists():
        raise UserError(f"'{path}' is already there; name another file, nothing is overwritten")
    if not isinstance(path, Address) and not path.parent.is_dir():
        raise UserError(
            f"there is no folder '{path.parent}' for '{path.name}'; make it or name another file"
        )
