"""Linear heads on the features of a frozen backbone: trials go in, results come out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dalda.evaluation.backbones import Backbone
from dalda.evaluation.feature_cache import Matrix, Rows
from dalda.evaluation.features import FeatureStore
from dalda.evaluation.trial import Schedule, Trial, check, check_classes, image_of, labels_of, result_of
from dalda.progress import progress
from dalda.seeding import generator_of, seed_of
from dalda.types import FewShotSplit, SyntheticImage, TrialResult

ROWS_AT_ONCE = 64
"""Rows of a mapped table that are touched before its memory is let go: each may bring a megabyte along."""
SMALL_TABLE = 256e6
"""Bytes of a table that may stay in memory for an epoch: to read it again at every step costs more."""


def run_trial(
    trial: Trial, validation: FewShotSplit, store: FeatureStore, schedule: Schedule | None = None
) -> TrialResult:
    """Trains one head and tells its accuracy on every validation image once, after the last epoch."""
    return run_trials([trial], validation, store, schedule)[0]


def run_trials(
    trials: Sequence[Trial], validation: FewShotSplit, store: FeatureStore, schedule: Schedule | None = None
) -> list[TrialResult]:
    """Trains the heads of all trials in one loop, each on its own draws; results in the same order.

    Raises `UserError` where a trial cannot be trained or compared with the validation images.
    """
    if not trials:
        return []
    schedule = schedule or Schedule()
    for trial in trials:
        check(trial, validation)
    started = _started(trials, store, schedule)
    faces = torch.from_numpy(store.plain([image_of(example) for example in validation.images]))
    truth = torch.from_numpy(labels_of(validation.images, validation.classes))
    history: list[list[float]] = [[] for _ in trials]
    for _ in _epochs(trials, started, store, schedule):
        for number, accuracy in enumerate(started.heads.accuracies(faces, truth)):
            history[number].append(accuracy)
    return [
        result_of(trial, validation, started.heads.probabilities(number, faces), history[number])
        for number, trial in enumerate(trials)
    ]


def seen_classes(
    trial: Trial, samples: Sequence[SyntheticImage], store: FeatureStore, schedule: Schedule | None = None
) -> list[str]:
    """The class that a head, trained as the trial says, sees in each sample.

    Raises `UserError` where the trial cannot be trained.
    """
    schedule = schedule or Schedule()
    check_classes(trial)
    started = _started([trial], store, schedule)
    for _ in _epochs([trial], started, store, schedule):
        pass
    faces = torch.from_numpy(store.plain([image_of(sample) for sample in samples]))
    seen = started.heads.probabilities(0, faces).argmax(1)
    return [trial.split.classes[number] for number in seen.tolist()]


@dataclass(frozen=True)
class _Started:
    """The features and heads of some trials, before the first step."""

    table: Matrix
    rows: list[Rows]
    """For each trial the table's row of each of its images."""
    heads: "Heads"


def _started(trials: Sequence[Trial], store: FeatureStore, schedule: Schedule) -> _Started:
    images = [[image_of(item) for item in trial.items] for trial in trials]
    table, rows = store.viewed([image for group in images for image in group])
    own = np.split(rows, np.cumsum([len(group) for group in images])[:-1])
    starts = [
        start_of(trial, table, row[: trial.pool.real], store.backbone, schedule, store.release)
        for trial, row in zip(trials, own, strict=True)
    ]
    store.release()
    return _Started(table, own, Heads(starts, schedule, store.backbone))


def _epochs(
    trials: Sequence[Trial], started: _Started, store: FeatureStore, schedule: Schedule
) -> Iterator[None]:
    """Trains the heads, and stops after each epoch."""
    with progress("training", schedule.epochs) as bar:
        for rows, views, labels, weights in epochs_of(trials, started.rows, store.views, schedule):
            steps = max(1, ROWS_AT_ONCE // (len(trials) * schedule.batch))
            if started.table.nbytes <= SMALL_TABLE:
                steps = schedule.iterations
            for start in range(0, schedule.iterations, steps):
                part = slice(start, start + steps)
                started.heads.train(started.table, rows[part], views[part], labels[part], weights[part])
                store.release()
            yield
            bar.advance()


class Heads:
    """H linear heads that are trained at once by cross-entropy; none touches another."""

    def __init__(
        self, starts: Sequence[tuple[Tensor, Tensor]], schedule: Schedule, backbone: Backbone
    ) -> None:
        """`starts` holds each head's weight [classes, d] and bias [classes]."""
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in starts]))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in starts]))
        self.optimizer = optimizer_of([self.weight, self.bias], schedule, backbone, fused=True)

    @torch.no_grad()
    def train(
        self, table: Matrix, rows: Rows, views: Rows, labels: Rows, weights: NDArray[np.float32]
    ) -> list[float]:
        """Some steps on `table` [n, views, d]; the others are [steps, H, batch]. Returns each step's loss.

        A head's loss is the mean over its batch of cross-entropy times weight; the losses returned are
        summed over heads, which leaves every head its own gradient.
        """
        targets = torch.from_numpy(labels).unsqueeze(3)
        shares = torch.from_numpy(weights / weights.shape[2]).unsqueeze(3)
        losses = []
        for step, (target, share) in enumerate(zip(targets, shares, strict=True)):
            features = torch.from_numpy(table[rows[step], views[step]])
            logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weight.transpose(1, 2))
            said = logits.log_softmax(2)
            losses.append(-float((said.gather(2, target) * share).sum()))
            # The gradient of cross-entropy, written out: autograd would take longer than the arithmetic.
            slope = said.exp().scatter_add(2, target, torch.full_like(share, -1.0)) * share
            self.weight.grad, self.bias.grad = slope.transpose(1, 2) @ features, slope.sum(1)
            self.optimizer.step()
        return losses

    @torch.no_grad()
    def accuracies(self, faces: Tensor, truth: Tensor) -> list[float]:
        """Each head's share of images [n, d] that it classifies rightly."""
        pairs = zip(self.weight, self.bias, strict=True)
        return [
            float(((faces @ weight.T + bias).argmax(1) == truth).double().mean()) for weight, bias in pairs
        ]

    @torch.no_grad()
    def probabilities(self, number: int, faces: Tensor) -> NDArray[np.float64]:
        """What one head says of images [n, d]: [n, classes]."""
        logits = faces @ self.weight[number].T + self.bias[number]
        found: NDArray[np.float64] = logits.double().softmax(1).numpy()
        return found


def epochs_of(
    trials: Sequence[Trial], rows: Sequence[Rows], views: int, schedule: Schedule
) -> Iterator[tuple[Rows, Rows, Rows, NDArray[np.float32]]]:
    """Table rows, views, labels and weights of each epoch, all [iterations, trials, batch]."""
    draws = [trial.draws(schedule) for trial in trials]
    labels = [trial.labels for trial in trials]
    chosen = [
        generator_of(trial.seed, "views").integers(views, size=draws[0].images.shape) for trial in trials
    ]
    for epoch in range(schedule.epochs):
        part = slice(epoch * schedule.iterations, (epoch + 1) * schedule.iterations)
        images = [drawn.images[part] for drawn in draws]
        yield (
            np.stack([row[image] for row, image in zip(rows, images, strict=True)], 1),
            np.stack([view[part] for view in chosen], 1),
            np.stack([label[image] for label, image in zip(labels, images, strict=True)], 1),
            np.stack([drawn.weights[part] for drawn in draws], 1),
        )


def optimizer_of(
    parameters: Iterable[nn.Parameter] | list[dict[str, object]],
    schedule: Schedule,
    backbone: Backbone,
    *,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """The backbone's own optimiser, with the schedule's rates where it names them."""
    row = backbone.row
    rate = row.learning_rate if schedule.learning_rate is None else schedule.learning_rate
    decay = row.weight_decay if schedule.weight_decay is None else schedule.weight_decay
    kind = torch.optim.Adam if row.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay, fused=fused)


def start_of(
    trial: Trial,
    table: Matrix,
    real: Rows,
    backbone: Backbone,
    schedule: Schedule,
    release: Callable[[], None] = lambda: None,
) -> tuple[Tensor, Tensor]:
    """The head before training: weight [classes, d], bias [classes].

    `real` are the real images' rows of the table [n, ..., d]; `release` lets go of what was read of it.
    `text`: the texts' directions, at the length that gives CLIP's own logits on features as long as the
    real images' are on average. Otherwise, and where the backbone reads no text, torch's `Linear` start.
    """
    classes, width = len(trial.split.classes), table.shape[-1]
    text = backbone.head_init(trial.split.classes) if schedule.head_init == "zero-shot" else None
    if text is not None:
        scale = backbone.text_scale / _mean_length(table, real, release)
        return nn.functional.normalize(text, dim=1) * scale, torch.zeros(classes)
    generator = torch.Generator().manual_seed(seed_of(trial.seed, "head"))
    bound = width**-0.5
    weight = torch.empty(classes, width).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(classes).uniform_(-bound, bound, generator=generator)


def _mean_length(table: Matrix, rows: Rows, release: Callable[[], None]) -> float:
    """Over some rows at a time: the table may be larger than the memory."""
    total = 0.0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = table[rows[start : start + ROWS_AT_ONCE]]
        total += float(np.linalg.norm(part, axis=-1).sum(dtype=np.float64))
        release()
    return total / (len(rows) * int(np.prod(table.shape[1:-1], dtype=int)))
