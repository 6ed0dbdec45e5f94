"""The original code's protocol in every detail, to compare with its published numbers.

Images are squeezed to a square and normalised with mean = std = 0.5; the head starts from CLIP's unscaled
text features; validation images are drawn with replacement; each number is a mean over classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone, ZeroShot
from dalda.evaluation.features import FeatureStore, ImageFile
from dalda.evaluation.heads.linear import Heads, start_of
from dalda.evaluation.inputs import FreshViews
from dalda.evaluation.training import fit_heads
from dalda.evaluation.trial import Schedule, Trial, check, image_file, labels_of, result_of
from dalda.progress import progress
from dalda.seeding import generator_of
from dalda.types import FewShotSplit, TrialResult

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """What the original code writes after each epoch: per class [epochs, classes], NaN where none was
    drawn."""

    training_loss: Numbers
    training_accuracy: Numbers
    validation_loss: Numbers
    validation_accuracy: Numbers


class OriginalViews(FreshViews):
    """Fresh views of images that are squeezed to a square and scaled to values from -1 to 1."""

    resample = Image.Resampling.NEAREST

    def open(self, file: ImageFile) -> Image.Image:
        return square(self.store.open_image(file.path, sha256=file.sha256, shorter=0), self.backbone.size)


def square(image: Image.Image, size: int) -> Image.Image:
    """An RGB image, squeezed to size x size pixels."""
    return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def original_backbone(store: FeatureStore) -> Backbone:
    """The backbone with the original code's preprocessing. Raises UserError for no torch model."""
    backbone = store.backbone
    if not isinstance(backbone, Backbone):
        raise UserError(f"--original needs a torch model, which the backbone {backbone.name!r} is not.")
    size = backbone.size
    return replace(backbone, preprocess=lambda images: half_normalized(images, size))


def half_normalized(images: Sequence[Image.Image], size: int) -> Tensor:
    """The original code's preprocessing: squares with values from -1 to 1, float32 [n, 3, size, size]."""
    squares = np.stack([np.asarray(square(image, size), np.float32) for image in images])
    return torch.from_numpy(squares).permute(0, 3, 1, 2) / 127.5 - 1


def run_as_original(
    trial: Trial, validation: FewShotSplit, store: FeatureStore, schedule: Schedule | None = None
) -> tuple[TrialResult, Curves]:
    """Trains one head on fresh views; accuracy and loss are those of the last epoch's sample, by class.

    Only `right`, `confusion` and `calibration_error` of the result look at every validation image once.
    Raises `UserError` where the trial cannot be trained or compared.
    """
    schedule = schedule or Schedule()
    check(trial, validation)
    backbone = original_backbone(store)
    views = OriginalViews(trial, store, schedule, backbone=backbone)
    heads = Heads([_start(trial, views, schedule)], schedule, backbone.recipe, device=views.device)
    features = torch.cat(
        [views.backbone.extract([views.open(image_file(image))]) for image in validation.images]
    ).to(views.device)
    labels = labels_of(validation.images, validation.classes)
    classes, steps = len(validation.classes), schedule.iterations
    training, sampled = _Tally(schedule, classes), _Tally(schedule, classes)
    chosen = generator_of(trial.seed, "validation sample").integers(
        len(labels), size=(schedule.epochs, steps * schedule.batch)
    )
    with progress(f"training {trial.arm}", schedule.epochs) as bar:
        for step, (batch, logits, _) in enumerate(fit_heads(heads, views, schedule)):
            training.add(step // steps, logits[0], batch.targets[0, :, 0])
            if (step + 1) % steps == 0:
                drawn = chosen[step // steps]
                sampled.add(
                    step // steps, heads.logits(0, features[drawn]), torch.from_numpy(labels[drawn])
                )
                bar.advance()
    curves = Curves(*training.means(), *sampled.means())
    by_epoch = np.nanmean(curves.validation_accuracy, axis=1).tolist()
    complete = result_of(trial, validation, heads.probabilities(0, features), by_epoch)
    return _with_sampled_numbers(complete, curves), curves


def _with_sampled_numbers(result: TrialResult, curves: Curves) -> TrialResult:
    if not len(curves.validation_accuracy):
        return result
    return replace(
        result,
        accuracy=float(np.nanmean(curves.validation_accuracy[-1])),
        loss=float(np.nanmean(curves.validation_loss[-1])),
        class_accuracy=tuple(curves.validation_accuracy[-1].tolist()),
    )


def _start(trial: Trial, views: OriginalViews, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """As torch's layers start, but for a CLIP with the text features of the labels as weights."""
    backbone = views.backbone
    none = np.empty((0, backbone.dimensions), np.float32)
    weight, bias = start_of(trial, backbone, replace(schedule, head_init="random"), none, np.arange(0))
    return backbone.text_features(trial.split.classes) if isinstance(backbone, ZeroShot) else weight, bias


class _Tally:
    """Sums of loss and of hits per epoch and class."""

    def __init__(self, schedule: Schedule, classes: int) -> None:
        self.loss, self.hits, self.count = (np.zeros((schedule.epochs, classes)) for _ in range(3))

    def add(self, epoch: int, logits: Tensor, labels: Tensor) -> None:
        """Some images: logits [n, classes], labels [n]."""
        logits, labels = logits.cpu(), labels.cpu()
        losses = nn.functional.cross_entropy(logits, labels, reduction="none").double().numpy()
        hits = (logits.argmax(1) == labels).double().numpy()
        for sums, values in ((self.loss, losses), (self.hits, hits), (self.count, np.ones(len(labels)))):
            np.add.at(sums[epoch], labels.numpy(), values)

    def means(self) -> tuple[Numbers, Numbers]:
        """Loss and accuracy, [epochs, classes] each."""
        with np.errstate(invalid="ignore"):
            return self.loss / self.count, self.hits / self.count
