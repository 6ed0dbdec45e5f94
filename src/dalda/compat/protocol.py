"""The original code's protocol in every detail that METHOD.md names, to compare with its published numbers.

Images are squeezed to a square and normalised with mean = std = 0.5; the head starts from CLIP's unscaled
text features; validation images are drawn with replacement; each number is a mean over classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dalda.evaluation.backbones import Backbone
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.heads import optimizer_of, start_of
from dalda.evaluation.transforms import turned
from dalda.evaluation.trial import Schedule, Trial, check, labels_of, result_of
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


@dataclass(frozen=True)
class HalfNormalised:
    """The original code's preprocessing, for either backbone: a square, and values from -1 to 1."""

    size: int

    def __call__(self, images: Sequence[Image.Image], return_tensors: str = "pt") -> dict[str, Tensor]:
        """Images to {"pixel_values": float32 [n, 3, size, size]}."""
        squares = np.stack([np.asarray(square(image, self.size), np.float32) for image in images])
        return {"pixel_values": torch.from_numpy(squares).permute(0, 3, 1, 2) / 127.5 - 1}


def square(image: Image.Image, size: int) -> Image.Image:
    return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def run_as_original(
    trial: Trial, validation: FewShotSplit, store: FeatureStore, schedule: Schedule | None = None
) -> tuple[TrialResult, Curves]:
    """Trains one head on fresh views; accuracy and loss are those of the last epoch's sample, by class.

    Only `right`, `confusion` and `calibration_error` of the result look at every validation image once.
    Raises `UserError` where the trial cannot be trained or compared.
    """
    schedule = schedule or Schedule()
    check(trial, validation)
    backbone = replace(store.backbone, processor=HalfNormalised(store.backbone.size))
    head = _head(trial, store, backbone, schedule)
    faces = backbone.features([store.open_image(one.path) for one in validation.images])
    truth = labels_of(validation.images, validation.classes)
    training, sampled = _Tally(schedule, len(validation.classes)), _Tally(schedule, len(validation.classes))
    chosen = generator_of(trial.seed, "validation sample").integers(
        len(truth), size=(schedule.epochs, schedule.iterations * schedule.batch)
    )
    with progress(f"training {trial.arm}", schedule.epochs) as bar:
        for epoch, drawn in enumerate(_epochs(trial, store, schedule, backbone, head, training)):
            with torch.no_grad():
                logits = head(faces[chosen[drawn]].to(backbone.device)).cpu()
            sampled.add(epoch, logits, torch.from_numpy(truth[chosen[drawn]]))
            bar.advance()
    curves = Curves(*training.means(), *sampled.means())
    with torch.no_grad():
        said = head(faces.to(backbone.device)).cpu().double().softmax(1).numpy()
    by_epoch = np.nanmean(curves.validation_accuracy, axis=1).tolist()
    honest = result_of(trial, validation, said, by_epoch)
    return _told(honest, curves), curves


def _told(result: TrialResult, curves: Curves) -> TrialResult:
    if not len(curves.validation_accuracy):
        return result
    return replace(
        result,
        accuracy=float(np.nanmean(curves.validation_accuracy[-1])),
        loss=float(np.nanmean(curves.validation_loss[-1])),
        class_accuracy=tuple(curves.validation_accuracy[-1].tolist()),
    )


def _epochs(
    trial: Trial,
    store: FeatureStore,
    schedule: Schedule,
    backbone: Backbone,
    head: nn.Linear,
    tally: "_Tally",
) -> Iterator[int]:
    """Trains `head` in place, and yields the number of each epoch when it is over."""
    optimizer = optimizer_of(head.parameters(), schedule, backbone)
    items, labels, draws = trial.items, torch.from_numpy(trial.labels), trial.draws(schedule)
    views = generator_of(trial.seed, "exact views")
    opened: dict[int, Image.Image] = {}
    for step, images in enumerate(draws.images):
        for number in images:
            if number not in opened:
                opened[number] = square(store.open_image(items[number].path), backbone.size)
        pixels = backbone.pixels([turned(opened[number], views) for number in images])
        with torch.no_grad():
            features = backbone.embed(pixels)
        logits = head(features)
        wanted = labels[images]
        loss = nn.functional.cross_entropy(logits, wanted.to(logits.device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        tally.add(step // schedule.iterations, logits.detach().cpu(), wanted)
        if (step + 1) % schedule.iterations == 0:
            yield step // schedule.iterations


def _head(trial: Trial, store: FeatureStore, backbone: Backbone, schedule: Schedule) -> nn.Linear:
    """CLIP's text features as they are, with a bias from 0 on; without texts the head starts as torch's."""
    text = backbone.head_init(trial.split.classes)
    if text is None:
        none = np.empty((0, backbone.dimensions), np.float32)
        weight, bias = start_of(trial, none, np.arange(0), backbone, schedule)
    else:
        weight, bias = text, torch.zeros(len(text))
    head = nn.utils.skip_init(nn.Linear, *weight.shape[::-1])  # type: ignore[no-untyped-call]
    head.load_state_dict({"weight": weight, "bias": bias})
    moved: nn.Linear = head.to(backbone.device)
    return moved


class _Tally:
    """Sums of loss and of hits per epoch and class."""

    def __init__(self, schedule: Schedule, classes: int) -> None:
        self.loss, self.hits, self.count = (np.zeros((schedule.epochs, classes)) for _ in range(3))

    def add(self, epoch: int, logits: Tensor, truth: Tensor) -> None:
        """Some images: logits [n, classes], truth [n]."""
        each = nn.functional.cross_entropy(logits, truth, reduction="none").double().numpy()
        hits = (logits.argmax(1) == truth).double().numpy()
        for sums, values in ((self.loss, each), (self.hits, hits), (self.count, np.ones(len(truth)))):
            np.add.at(sums[epoch], truth.numpy(), values)

    def means(self) -> tuple[Numbers, Numbers]:
        """Loss and accuracy, [epochs, classes] each."""
        with np.errstate(invalid="ignore"):
            return self.loss / self.count, self.hits / self.count
