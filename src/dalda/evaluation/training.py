"""Training of classifiers: linear heads by cross-entropy, in one loop for every kind of input.

Inputs are cached features (seconds for all heads of a seed), or fresh views through the backbone, which may
itself be trained (`dalda.evaluation.inputs`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dalda.device import one_thread
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.evaluation.calibration import held_out_temperature
from dalda.evaluation.classifier import Head, TrainedHead
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.heads.classical import augmented_rows
from dalda.evaluation.heads.linear import Heads, start_of
from dalda.evaluation.heads.rows import feature_rows
from dalda.evaluation.heads.table import LINEAR, head_named
from dalda.evaluation.inputs import Batch, CachedViews, FreshViews
from dalda.evaluation.trial import Schedule, Trial, check, check_classes, image_file, labels_of, result_of
from dalda.progress import progress
from dalda.seeding import seed_of
from dalda.types import FewShotSplit, RealImage, SyntheticImage, TrialResult

Inputs = CachedViews | FreshViews


def fit_heads(heads: Heads, inputs: Inputs, schedule: Schedule) -> Iterator[tuple[Batch, Tensor, float]]:
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
    head: str = LINEAR
    """A head of `dalda.evaluation.heads`; all but `linear` learn from cached features at once."""

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
    groups: dict[int | str, list[int]] = {}
    for number, trial in enumerate(trials):
        # All linear heads of one seed in one loop; seed by seed, so that the first arms are finished soon.
        together = not method.fresh and (trial.head or method.head) == LINEAR
        groups.setdefault(f"seed {trial.seed}" if together else number, []).append(number)
    found: dict[int, TrialResult] = {}
    for numbers in groups.values():
        group = [trials[number] for number in numbers]
        if (group[0].head or method.head) == LINEAR:
            results = _run_group(group, validation, store, schedule, method, on_trial_end)
        else:
            results = [_run_on_features(group[0], validation, store, method, on_trial_end)]
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


def _run_on_features(
    trial: Trial,
    validation: FewShotSplit,
    store: FeatureStore,
    method: TrainingMethod,
    on_trial_end: OnTrialEnd,
) -> TrialResult:
    head = _fitted(trial, store, trial.head or method.head)
    features = torch.from_numpy(store.plain([image_file(image) for image in validation.images]))
    result = result_of(trial, validation, head(features).double().softmax(1).numpy(), ())
    on_trial_end(result, TrainedHead(head))
    return result


def _fitted(trial: Trial, store: FeatureStore, name: str) -> Head:
    """A head that learns from cached features at once."""
    kind = head_named(name, store.backbone)
    rows = augmented_rows(trial, store, kind) if trial.classical else feature_rows(trial, store)
    with one_thread():
        return kind.fit(rows, trial.seed)


def epochs(heads: Heads, inputs: Inputs, schedule: Schedule, seed: int, label: str) -> Iterator[None]:
    """Trains the heads, and stops after each epoch."""
    threads = one_thread() if isinstance(inputs, CachedViews) else nullcontext()
    with progress(label, schedule.epochs) as bar, torch.random.fork_rng(), threads:
        # Dropout draws from torch's own generator: seeded here, and given back as it was.
        torch.manual_seed(seed_of(seed, "dropout"))
        for step, _ in enumerate(fit_heads(heads, inputs, schedule), 1):
            if step % schedule.iterations == 0:
                yield
                bar.advance()


def prepare(
    trials: Sequence[Trial], store: FeatureStore, schedule: Schedule, method: TrainingMethod
) -> tuple[Heads, Inputs]:
    """The heads before training, and what they learn from; fresh views are for one trial."""
    inputs: Inputs
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


def predict_probabilities(
    trial: Trial,
    images: Sequence[RealImage | SyntheticImage],
    store: FeatureStore,
    schedule: Schedule,
    head: str,
    *,
    calibrated: bool = False,
) -> NDArray[np.float64]:
    """Class probabilities of images by a head that is trained as the trial says, [images, classes].

    Calibrated ones are those of a temperature that cross-validation finds, for heads on cached features.
    Raises `UserError` where the trial cannot be trained.
    """
    check_classes(trial)
    features = torch.from_numpy(store.plain([image_file(image) for image in images]))
    if head == LINEAR:
        heads, inputs = prepare([trial], store, schedule, TrainingMethod())
        for _ in epochs(heads, inputs, schedule, trial.seed, "training"):
            pass
        return heads.probabilities(0, features)
    temperature = 1.0
    if calibrated:
        fit = head_named(head, store.backbone).fit
        with one_thread():
            temperature = held_out_temperature(feature_rows(trial, store), fit, trial.seed)
    logits = _fitted(trial, store, head)(features).double() / temperature
    found: NDArray[np.float64] = logits.softmax(1).numpy()
    return found
