"""`linear`: linear heads by stochastic gradient descent on cross-entropy, with the paper's schedule."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dalda.datasets.class_names import class_wordings
from dalda.evaluation.backbones.base import FeatureExtractor, ZeroShot
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.evaluation.feature_cache import Matrix, release
from dalda.evaluation.inputs import Batch
from dalda.evaluation.trial import Schedule, Trial
from dalda.seeding import seed_of

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
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        groups: list[dict[str, object]] = [{"params": [self.weight, self.bias]}]
        if moving:
            groups.append({"params": list(moving), "lr": rate})
        self.optimizer = kind(groups, lr=head_rate, weight_decay=recipe.weight_decay, fused=True)

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
