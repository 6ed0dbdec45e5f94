"""Training of classifiers: linear heads by cross-entropy, in one loop for every kind of input.

Inputs are cached features (seconds for all heads of a seed), or fresh views through the backbone, which may
itself be trained (`dalda.evaluation.inputs`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dalda.evaluation.backbones.base import FeatureExtractor, ZeroShot
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.evaluation.classifier import Head, TrainedHead
from dalda.evaluation.feature_cache import Matrix, release
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.inputs import Batch, CachedViews, FreshViews, Inputs
from dalda.evaluation.trial import (
    Schedule,
    Trial,
    check,
    check_classes,
    class_wordings,
    image_file,
    labels_of,
    result_of,
)
from dalda.progress import progress
from dalda.seeding import seed_of
from dalda.types import FewShotSplit, RealImage, SyntheticImage, TrialResult

ROWS_AT_ONCE = 64
"""Rows of a memory-mapped table that are read before its memory is freed: each may bring a megabyte."""


class Heads:
    """H linear heads that are trained at once; none touches another."""

    def __init__(
        self,
        starts: Sequence[tuple[Tensor, Tensor]],
        schedule: Schedule,
        recipe: HeadRecipe,
        *,
        device: torch.device | str = "cpu",
        moving: Sequence[nn.Parameter] = (),
        rate: float = 0.0,
    ) -> None:
        """`starts` holds each head's weight [classes, d] and bias [classes].

        `moving` are weights of the backbone, which learn along at a `rate` of their own.
        """
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in starts]).to(device))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in starts]).to(device))
        head_rate = recipe.learning_rate if schedule.learning_rate is None else schedule.learning_rate
        decay = recipe.weight_decay if schedule.weight_decay is None else schedule.weight_decay
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        groups: list[dict[str, object]] = [{"params": [self.weight, self.bias]}]
        if moving:
            groups.append({"params": list(moving), "lr": rate})
        self.optimizer = kind(groups, lr=head_rate, weight_decay=decay, fused=True)

    def step(self, batch: Batch) -> tuple[Tensor, float]:
        """One step of every head, and of the backbone where the features come with gradients.

        A head's loss is the sum of its shares times cross-entropy; the loss that is returned, with the
        logits [H, batch, classes], is summed over heads, which leaves every head its own gradient.
        """
        with torch.no_grad():
            features = batch.features.detach()
            logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weight.transpose(1, 2))
            likelihoods = logits.log_softmax(2)
            loss = -float((likelihoods.gather(2, batch.targets) * batch.shares).sum())
            # The gradient of cross-entropy, written out: autograd would take longer than the arithmetic.
            slope = likelihoods.exp() * batch.shares.sum(2, keepdim=True)
            slope = slope.scatter_add(2, batch.targets, -batch.shares)
        if batch.features.requires_grad:
            self.optimizer.zero_grad()
            batch.features.backward(slope @ self.weight.detach())  # type: ignore[no-untyped-call]
        self.weight.grad, self.bias.grad = slope.transpose(1, 2) @ features, slope.sum(1)
        self.optimizer.step()
        return logits, loss

    @torch.no_grad()
    def logits(self, number: int, features: Tensor) -> Tensor:
        """One head's logits of images [n, d]: [n, classes]."""
        return features.to(self.weight.device) @ self.weight[number].T + self.bias[number]

    def probabilities(self, number: int, features: Tensor) -> NDArray[np.float64]:
        """One head's class probabilities of images [n, d]: [n, classes]."""
        found: NDArray[np.float64] = self.logits(number, features).double().softmax(1).cpu().numpy()
        return found

    def accuracies(self, features: Tensor, labels: Tensor) -> list[float]:
        """Each head's share of correctly classified images [n, d]."""
        predicted = (self.logits(number, features).argmax(1).cpu() for number in range(len(self.weight)))
        return [float((classes == labels).double().mean()) for classes in predicted]


def fit(heads: Heads, inputs: Inputs, schedule: Schedule) -> Iterator[tuple[Batch, Tensor, float]]:
    """The training loop: trains the heads in place; yields each step's batch, logits and loss."""
    for step in range(schedule.epochs * schedule.iterations):
        batch = inputs.batch(step)
        yield batch, *heads.step(batch)


@dataclass(frozen=True)
class TrainingMethod:
    """How classifiers are trained beside their schedule."""

    online: bool = False
    """Fresh views at each step; else cached features."""
    finetune: str = "head"
    """What learns: `head`, `full` or `lora`; the last two move the backbone."""
    batch_augment: str = "none"
    """`none`, `mixup` or `cutmix`."""

    @property
    def fresh(self) -> bool:
        """A moving backbone and mixed pixels have no features that could be cached."""
        return self.online or self.finetune != "head" or self.batch_augment != "none"


OnTrialEnd = Callable[[TrialResult, TrainedHead], None]
"""Called with each trial's result as soon as it is finished."""


def run_trials(
    trials: Sequence[Trial],
    validation: FewShotSplit,
    store: FeatureStore,
    schedule: Schedule | None = None,
    method: TrainingMethod | None = None,
    on_trial_end: OnTrialEnd = lambda *_: None,
) -> list[TrialResult]:
    """Trains the classifiers of all trials, each on its own draws; results in the same order.

    Each is measured on every validation image once, after the last epoch. Raises `UserError` where a trial
    cannot be trained or compared with the validation images.
    """
    schedule, method = schedule or Schedule(), method or TrainingMethod()
    for trial in trials:
        check(trial, validation)
    groups: dict[int, list[int]] = {}
    for number, trial in enumerate(trials):
        # All heads of one seed in one loop; seed by seed, so that the first arms are finished soon.
        groups.setdefault(number if method.fresh else trial.seed, []).append(number)
    found: dict[int, TrialResult] = {}
    for numbers in groups.values():
        group = [trials[number] for number in numbers]
        results = _run_group(group, validation, store, schedule, method, on_trial_end)
        found |= dict(zip(numbers, results, strict=True))
    return [found[number] for number in range(len(trials))]


def _run_group(
    trials: Sequence[Trial],
    validation: FewShotSplit,
    store: FeatureStore,
    schedule: Schedule,
    method: TrainingMethod,
    on_trial_end: OnTrialEnd,
) -> list[TrialResult]:
    heads, inputs = prepare(trials, store, schedule, method)
    files = [image_file(image) for image in validation.images]
    # A moving backbone is measured after the last epoch alone.
    features = torch.from_numpy(store.plain(files)) if method.finetune == "head" else None
    labels = torch.from_numpy(labels_of(validation.images, validation.classes))
    history: list[list[float]] = [[] for _ in trials]
    for _ in epochs(heads, inputs, schedule, trials[0].seed, f"training {trials[0].arm}"):
        if features is not None:
            for accuracies, accuracy in zip(history, heads.accuracies(features, labels), strict=True):
                accuracies.append(accuracy)
    if features is None:
        features = inputs.extract(files)
    results = []
    for number, trial in enumerate(trials):
        probabilities = heads.probabilities(number, features)
        accuracies = history[number] or [float((probabilities.argmax(1) == labels.numpy()).mean())]
        if schedule.epochs == 0:
            accuracies = []
        results.append(result_of(trial, validation, probabilities, accuracies))
        head = Head(heads.weight[number].cpu(), heads.bias[number].cpu())
        on_trial_end(results[-1], TrainedHead(head, method.finetune, inputs.trained()))
    return results


def epochs(heads: Heads, inputs: Inputs, schedule: Schedule, seed: int, label: str) -> Iterator[None]:
    """Trains the heads, and stops after each epoch."""
    with progress(label, schedule.epochs) as bar, torch.random.fork_rng():
        # Dropout draws from torch's own generator: seeded here, and given back as it was.
        torch.manual_seed(seed_of(seed, "dropout"))
        for step, _ in enumerate(fit(heads, inputs, schedule), 1):
            if step % schedule.iterations == 0:
                yield
                bar.advance()


def prepare(
    trials: Sequence[Trial], store: FeatureStore, schedule: Schedule, method: TrainingMethod
) -> tuple[Heads, CachedViews | FreshViews]:
    """The heads before training, and what they learn from; fresh views are for one trial."""
    inputs: CachedViews | FreshViews
    if method.fresh:
        (trial,) = trials
        inputs = FreshViews(
            trial, store, schedule, finetune=method.finetune, batch_augment=method.batch_augment
        )
        table = store.plain([image_file(image) for image in trial.split.images])
        rows = [np.arange(len(table))]
    else:
        inputs = CachedViews(trials, store, schedule)
        table, rows = inputs.table, inputs.rows
    starts = [
        start_of(trial, store.backbone, schedule, table, row[: trial.pool.real])
        for trial, row in zip(trials, rows, strict=True)
    ]
    recipe = getattr(store.backbone, "recipe", HeadRecipe())
    return Heads(
        starts, schedule, recipe, device=inputs.device, moving=inputs.moving, rate=inputs.rate
    ), inputs


def predict_classes(
    trial: Trial,
    images: Sequence[RealImage | SyntheticImage],
    store: FeatureStore,
    schedule: Schedule | None = None,
) -> list[str]:
    """The class that a head, trained as the trial says, predicts for each image.

    Raises `UserError` where the trial cannot be trained.
    """
    probabilities = predict_probabilities(trial, images, store, schedule)
    return [trial.split.classes[number] for number in probabilities.argmax(1).tolist()]


def predict_probabilities(
    trial: Trial,
    images: Sequence[RealImage | SyntheticImage],
    store: FeatureStore,
    schedule: Schedule | None = None,
) -> NDArray[np.float64]:
    """Its class probabilities of each image, [images, classes]."""
    schedule = schedule or Schedule()
    check_classes(trial)
    heads, inputs = prepare([trial], store, schedule, TrainingMethod())
    for _ in epochs(heads, inputs, schedule, trial.seed, "training"):
        pass
    features = torch.from_numpy(store.plain([image_file(image) for image in images]))
    return heads.probabilities(0, features)


def start_of(
    trial: Trial, backbone: FeatureExtractor, schedule: Schedule, table: Matrix, real: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """The head before training: weight [classes, d], bias [classes].

    `real` are the real images' rows of the table [n, ..., d]. Zero-shot: the directions of the class names'
    text features, at the length that gives CLIP's own logits on features as long as the real images' are on
    average. Otherwise, and for a backbone without text features, torch's start of a linear layer.
    """
    classes, width = len(trial.split.classes), table.shape[-1]
    if schedule.head_init == "zero-shot" and isinstance(backbone, ZeroShot):
        text = backbone.text_features(list(class_wordings(trial.split).values())).float().cpu()
        scale = backbone.logit_scale / _mean_length(table, real)
        return nn.functional.normalize(text, dim=1) * scale, torch.zeros(classes)
    generator = torch.Generator().manual_seed(seed_of(trial.seed, "head"))
    bound = width**-0.5
    weight = torch.empty(classes, width).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(classes).uniform_(-bound, bound, generator=generator)


def _mean_length(table: Matrix, rows: NDArray[np.int64]) -> float:
    """Over some rows at a time: the table may be larger than the memory."""
    total = 0.0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = table[rows[start : start + ROWS_AT_ONCE]]
        total += float(np.linalg.norm(part, axis=-1).sum(dtype=np.float64))
        release(table)
    return total / (len(rows) * int(np.prod(table.shape[1:-1], dtype=int)))
