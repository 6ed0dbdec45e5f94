"""A trained classifier of a run: loaded as one torch module, and asked about new images."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL.Image import Image

from dalda.config import PredictConfig
from dalda.datasets.class_names import same_name
from dalda.datasets.image_folder import images_below
from dalda.datasets.image_io import DECODERS, open_image
from dalda.device import device_named, quiet_libraries
from dalda.errors import UserError
from dalda.evaluation.results import planned_trials
from dalda.generation.folder_names import folder_name
from dalda.progress import progress, say
from dalda.storage import Address, csv_text, path_of, write_new
from dalda.types import REAL

if TYPE_CHECKING:
    from torch import nn

    from dalda.evaluation.backbones.base import FeatureExtractor
    from dalda.evaluation.classifier import ImageClassifier

BATCH = 64
TOP = 5
"""Classes whose probabilities a prediction names."""


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of an image."""

    image: Path
    label: str
    confidence: float
    """The probability of that class."""
    probabilities: Mapping[str, float]
    """Of the most probable classes, these first."""


@dataclass(frozen=True)
class PredictReport:
    """The predictions of one classifier, and the images that it could not read."""

    arm: str
    seed: int
    backbone: str
    predictions: tuple[Prediction, ...]
    skipped: tuple[str, ...]
    """A sentence on each image that could not be used."""
    accuracy: float | None
    """Where all images lie in folders called like classes; else None."""
    out: Path | None


def load_classifier(
    place: Path | str, *, backbone: "str | nn.Module | FeatureExtractor | None" = None, device: str = "auto"
) -> "ImageClassifier":
    """A classifier that `dalda train -o` or `dalda run` kept, as one torch module.

    `place` is a run folder with one classifier to choose (see `classifier_in`), or a classifier's file. Its
    backbone is loaded by the recorded name, or is `backbone`; in any case it must be the very same, by its
    hash. Raises UserError where there is none, or it does not fit.
    """
    quiet_libraries()
    from dalda.evaluation.backbones.load import load_backbone
    from dalda.evaluation.classifier import read_classifier, read_classifier_info

    path = classifier_in(path_of(place))
    named = read_classifier_info(path).backbone if backbone is None else backbone
    return read_classifier(path, load_backbone(named, device_named(device)))


def classifier_in(place: Path) -> Path:
    """The classifier's file: `place` itself, or of a run the one that was trained on most.

    That is the first seed of its only arm with synthetic images, or of real images alone where there is
    none, at the largest number of shots. No validation image decides. Raises UserError where several arms
    could be meant, and where the run keeps no classifier.
    """
    from dalda.evaluation.classifier import FOLDER, SUFFIX, classifier_file

    if not place.is_dir():
        return place
    trials = {}
    for trial in planned_trials(place):
        file = classifier_file(place, folder_name(trial.arm), trial.seed, trial.shots)
        if file.is_file():
            trials[file] = trial
    if not trials:
        raise UserError(
            f"'{place}' keeps no classifier; name a folder of dalda train -o or dalda run, "
            f"or a {SUFFIX} file of its folder '{FOLDER}'"
        )
    with_synthetic = {path: trial for path, trial in trials.items() if trial.synthetic is not None}
    real = {path: trial for path, trial in trials.items() if trial.arm == REAL}
    chosen = with_synthetic or real or trials
    arms = list(dict.fromkeys(trial.arm for trial in chosen.values()))
    if len(arms) > 1:
        files = [next(path for path, trial in chosen.items() if trial.arm == arm) for arm in arms]
        raise UserError(
            f"'{place}' has classifiers of {len(arms)} arms; name one of them: {', '.join(map(str, files))}"
        )
    # No limit of shots is the most; of equals the first.
    return max(chosen, key=lambda path: (chosen[path].shots is None, chosen[path].shots or 0))


def predict(config: PredictConfig) -> PredictReport:
    """The class of each image, with the classifier's confidence in it.

    An image that cannot be used stops the command, or with `on_bad_image="skip"` is counted. Raises
    UserError for that, for a folder without images, and where the classifier cannot be loaded.
    """
    if config.out is not None and config.out.suffix.lower() not in (".csv", ".json"):
        raise UserError(f"'{config.out}' is neither a .csv nor a .json file; name one with -o")
    paths = images_in_places(config.images)
    classifier = load_classifier(config.classifier, backbone=config.backbone, device=config.device)
    predictions: list[Prediction] = []
    skipped: list[str] = []
    with progress("predict", len(paths)) as bar:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            opened = dict(_opened(batch, classifier.backbone.size))
            errors = [str(image) for image in opened.values() if isinstance(image, UserError)]
            if errors and config.on_bad_image == "stop":
                raise UserError(f"{errors[0]}; --on-bad-image skip skips such images")
            skipped += errors
            good = {path: image for path, image in opened.items() if not isinstance(image, UserError)}
            predictions += _predicted(classifier, good)
            bar.advance(len(batch))
    if skipped:
        say(f"note: {len(skipped)} of {len(paths)} images are skipped, as {skipped[0]}")
    report = PredictReport(
        arm=classifier.info.arm,
        seed=classifier.info.seed,
        backbone=classifier.info.backbone,
        predictions=tuple(predictions),
        skipped=tuple(skipped),
        accuracy=_accuracy(predictions, classifier.classes),
        out=config.out,
    )
    if config.out is not None:
        write_new(config.out, _text(report, config.out.suffix.lower()).encode(errors="backslashreplace"))
    return report


def images_in_places(places: Sequence[Path]) -> list[Path]:
    """The files named, and the images in the folders named and all folders in them, sorted; each once.

    Raises UserError for a place that is not there, and a folder without images.
    """
    found: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            inside = list(images_below(place))
            if not inside:
                raise UserError(f"'{place}' holds no images; name images or folders of images")
        elif place.is_file():
            inside = [place]
        else:
            raise UserError(f"there is no image or folder '{place}'")
        for path in inside:  # by its place, however that is written
            found.setdefault(os.path.abspath(path) if not isinstance(path, Address) else str(path), path)
    return list(found.values())


def _opened(paths: Sequence[Path], size: int) -> Iterator[tuple[Path, Image | UserError]]:
    """The images, decoded as they are in training, or why one cannot be used."""
    from dalda.evaluation.features import MARGIN

    def opened(path: Path) -> Image | UserError:
        try:
            return open_image(path, shorter=MARGIN * size)
        except UserError as error:
            return error

    with ThreadPoolExecutor(DECODERS) as pool:
        yield from zip(paths, pool.map(opened, paths), strict=True)


def _predicted(classifier: "ImageClassifier", images: dict[Path, Image]) -> Iterator[Prediction]:
    if not images:
        return
    for path, row in zip(images, classifier.probabilities(list(images.values())), strict=True):
        values, classes = row.topk(min(TOP, len(row)))
        names = [classifier.classes[number] for number in classes.tolist()]
        top = dict(zip(names, values.tolist(), strict=True))
        yield Prediction(path, names[0], top[names[0]], top)


def _accuracy(predictions: Sequence[Prediction], classes: Sequence[str]) -> float | None:
    """Of images that all lie in folders called like classes; None for others."""
    labels = [same_name(prediction.image.absolute().parent.name) for prediction in predictions]
    if not labels or not set(labels) <= set(classes):
        return None
    hits = sum(label == prediction.label for label, prediction in zip(labels, predictions, strict=True))
    return hits / len(labels)


def _text(report: PredictReport, suffix: str) -> str:
    if suffix == ".json":
        rows = [{**asdict(prediction), "image": str(prediction.image)} for prediction in report.predictions]
        return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    cells = ((str(x.image), x.label, x.confidence) for x in report.predictions)
    return csv_text([("image", "class", "confidence"), *cells], quote_text=True)
