"""Linear heads on the features of a frozen backbone: trials go in, outcomes come out."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dalda.progress import progress
from dalda.records import Outcome, Split
from dalda.seeding import generator_of, seed_of
from dalda.trials.backbones import Backbone
from dalda.trials.features import FeatureStore
from dalda.trials.table import Matrix, Rows
from dalda.trials.trial import Schedule, Trial, check, labels_of, outcome_of, picture_of


def run_trial(
    trial: Trial, validation: Split, store: FeatureStore, schedule: Schedule | None = None
) -> Outcome:
    """Trains one head and tells its accuracy on every validation image once, after the last epoch."""
    return run_trials([trial], validation, store, schedule)[0]


def run_trials(
    trials: Sequence[Trial], validation: Split, store: FeatureStore, schedule: Schedule | None = None
) -> list[Outcome]:
    """Trains the heads of all trials in one loop, each on its own draws; outcomes in the same order.

    Raises `UserError` where a trial cannot be trained or compared with the validation images.
    """
    if not trials:
        return []
    schedule = schedule or Schedule()
    for trial in trials:
        check(trial, validation)
    pictures = [[picture_of(item) for item in trial.items] for trial in trials]
    table, rows = store.viewed([picture for group in pictures for picture in group])
    own = np.split(rows, np.cumsum([len(group) for group in pictures])[:-1])
    faces = torch.from_numpy(store.plain([picture_of(example) for example in validation.examples]))
    truth = torch.from_numpy(labels_of(validation.examples, validation.classes))
    heads = Heads(
        [
            start_of(trial, table[row[: trial.pool.real]], store.backbone, schedule)
            for trial, row in zip(trials, own, strict=True)
        ],
        schedule,
        store.backbone,
    )
    history: list[list[float]] = [[] for _ in trials]
    with progress("training", schedule.epochs) as bar:
        for epoch in epochs_of(trials, own, store.views, schedule):
            heads.train(table, *epoch)
            store.release()
            for number, accuracy in enumerate(heads.accuracies(faces, truth)):
                history[number].append(accuracy)
            bar.advance()
    return [
        outcome_of(trial, validation, heads.probabilities(number, faces), history[number])
        for number, trial in enumerate(trials)
    ]


class Heads:
    """H linear heads that are trained at once by cross-entropy; none touches another."""

    def __init__(
        self, starts: Sequence[tuple[Tensor, Tensor]], schedule: Schedule, backbone: Backbone
    ) -> None:
        """`starts` holds each head's weight [classes, d] and bias [classes]."""
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in starts]))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in starts]))
        self.optimizer = optimizer_of([self.weight, self.bias], schedule, backbone)

    def train(
        self, table: Matrix, rows: Rows, views: Rows, labels: Rows, weights: NDArray[np.float32]
    ) -> list[float]:
        """Some steps on `table` [n, views, d]; the others are [steps, H, batch]. Returns each step's loss.

        A head's loss is the mean over its batch of cross-entropy times weight; the losses returned are
        summed over heads, which leaves every head its own gradient.
        """
        targets, trust = torch.from_numpy(labels), torch.from_numpy(weights)
        losses = []
        for step in range(len(rows)):
            features = torch.from_numpy(table[rows[step], views[step]])
            logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weight.transpose(1, 2))
            each = nn.functional.cross_entropy(
                logits.flatten(0, 1), targets[step].flatten(), reduction="none"
            )
            loss = (each.view_as(trust[step]) * trust[step]).mean(1).sum()
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.item())
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
    parameters: Iterable[nn.Parameter] | list[dict[str, object]], schedule: Schedule, backbone: Backbone
) -> torch.optim.Optimizer:
    """The backbone's own optimiser, with the schedule's rates where it names them."""
    row = backbone.row
    rate = row.learning_rate if schedule.learning_rate is None else schedule.learning_rate
    decay = row.weight_decay if schedule.weight_decay is None else schedule.weight_decay
    if row.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def start_of(trial: Trial, real: Matrix, backbone: Backbone, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """The head before training: weight [classes, d], bias [classes]; `real` is [..., d].

    `text`: the texts' directions, at the length that gives CLIP's own logits on features as long as the
    real images' are on average. Otherwise, and where the backbone reads no text, torch's `Linear` start.
    """
    classes, width = len(trial.split.classes), real.shape[-1]
    text = backbone.head_start(trial.split.classes) if schedule.head_start == "text" else None
    if text is not None:
        length = float(np.linalg.norm(real, axis=-1).mean())
        return nn.functional.normalize(text, dim=1) * (backbone.text_scale / length), torch.zeros(classes)
    generator = torch.Generator().manual_seed(seed_of(trial.seed, "head"))
    bound = width**-0.5
    weight = torch.empty(classes, width).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(classes).uniform_(-bound, bound, generator=generator)
