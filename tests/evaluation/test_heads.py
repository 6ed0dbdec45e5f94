"""Each head against an independent writing of its equations."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.evaluation.backbones.module import module_backbone
from dalda.evaluation.features import normalized
from dalda.evaluation.heads import constrained, cross_validated, lpp, tip_adapter
from dalda.evaluation.heads.base import FeatureRows, Numbers
from dalda.evaluation.heads.cross_validation import folds_of, likelihoods
from dalda.evaluation.heads.softmax_regression import softmax_regression
from dalda.evaluation.heads.table import HEADS, head_named

CLASSES, WIDTH, SCALE = 4, 6, 15.0


def make_rows(images: int = 3, views: int = 2, seed: int = 0) -> FeatureRows:
    """Classes around directions of their own, with texts near them; weights that differ."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(CLASSES, WIDTH))
    labels = np.repeat(np.arange(CLASSES), images * views)
    image = np.repeat(np.arange(CLASSES * images), views)
    weights = generator.uniform(0.5, 1.5, len(labels))
    return FeatureRows(
        features=3 * (centres[labels] + generator.normal(size=(len(labels), WIDTH))),
        targets=np.eye(CLASSES)[labels],
        weights=weights / weights.sum(),
        images=image,
        sources=np.stack([image, image], 1),
        real=np.ones(len(labels), np.bool_),
        text=normalized(centres + generator.normal(size=centres.shape)),
        logit_scale=SCALE,
    )


def tensor(values: Numbers | None) -> Tensor:
    assert values is not None
    return torch.from_numpy(values)


def descend(parameters: list[Tensor], loss: Callable[[], Tensor]) -> None:
    """Newton-free, by autograd: independent of the product's solver and of its written gradients."""
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=2000,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]


def test_softmax_regression_is_where_gradient_descent_ends() -> None:
    rows = make_rows()
    pull = np.array([0.01, 0.02, 0.05, 0.1])
    weight, bias = softmax_regression(rows, pull)
    w = torch.zeros(CLASSES, WIDTH, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        losses = nn.functional.cross_entropy(
            tensor(rows.features) @ w.T + b, tensor(rows.targets), reduction="none"
        )
        return (tensor(rows.weights) * losses).sum() + (tensor(pull)[:, None] * w**2).sum()

    descend([w, b], loss)
    np.testing.assert_allclose(weight, w.detach(), atol=1e-3)
    # A number that is added to every bias changes no probability.
    np.testing.assert_allclose(bias - bias.mean(), (b - b.mean()).detach(), atol=2e-3)


def test_the_constrained_head_is_claps_objective_at_its_minimum() -> None:
    rows = make_rows()
    text, labels = tensor(rows.text), tensor(rows.targets).argmax(1)
    features = nn.functional.normalize(tensor(rows.features), dim=1)
    zero_shot = (SCALE * features @ text.T).softmax(1)
    known = [
        (tensor(rows.weights)[labels == number] * zero_shot[labels == number, number]).sum()
        / tensor(rows.weights)[labels == number].sum()
        for number in range(CLASSES)
    ]
    penalty = torch.stack(known) * CLASSES / sum(known)
    weight = text.clone().requires_grad_(True)

    def loss() -> Tensor:
        losses = nn.functional.cross_entropy(SCALE * features @ weight.T, labels, reduction="none")
        pulled = constrained.STRENGTH * (penalty * (weight - text).pow(2).sum(1)).sum()
        return (tensor(rows.weights) * losses).sum() + pulled

    descend([weight], loss)
    head = constrained.fit_constrained(rows, 0)
    torch.testing.assert_close(head.weight.double(), SCALE * weight.detach(), atol=1e-3, rtol=0)
    assert head.normalized
    # A class that CLIP knows well moves less than one that it does not.
    moved = (head.weight.double() / SCALE - text).norm(dim=1)
    assert moved[penalty.argmax()] < moved[penalty.argmin()]


def test_lp_plus_plus_is_its_published_loop() -> None:
    """With equal weights, and torch's SGD and autograd in place of written gradients."""
    rows = make_rows()
    rows = replace(rows, weights=np.full(len(rows.weights), 1 / len(rows.weights)))
    features = nn.functional.normalize(tensor(rows.features), dim=1)
    text, labels = tensor(rows.text), tensor(rows.targets).argmax(1)
    layer = nn.Linear(WIDTH, CLASSES).double()
    means = torch.stack([features[labels == number].mean(0) for number in range(CLASSES)])
    with torch.no_grad():
        layer.weight.copy_(means)
        layer.bias.zero_()
    start = torch.stack([250 * (means[number] @ text[number]) for number in range(CLASSES)]).mean()
    alpha = (start * torch.ones(1, CLASSES, dtype=torch.float64)).requires_grad_(True)
    largest = torch.linalg.eigvalsh(features.T @ features)[-1].item()
    alpha_rate = len(features) / (4 * (features @ text.T).pow(2).sum(0).max().item())
    optimizer = torch.optim.SGD(layer.parameters(), 4 * len(features) / largest, momentum=0.9)
    for step in range(1, 301):
        optimizer.zero_grad()
        alpha.grad = None
        logits = layer(features) + alpha * (features @ text.T)
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 10 == 0:
            assert alpha.grad is not None
            alpha.data -= alpha_rate * alpha.grad
    expected = (layer(features) + alpha * (features @ text.T)).detach()
    found = lpp.fit_lpp(rows, 0)(tensor(rows.features).float()).double()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-4)


def test_tip_adapter_adds_the_votes_of_its_cache() -> None:
    rows = make_rows(images=1)
    assert not folds_of(rows, 0)  # one image a class: the published sharpness and share
    head = tip_adapter.fit_tip_adapter(rows, 0)
    new = torch.from_numpy(np.random.default_rng(9).normal(size=(5, WIDTH)))
    query = nn.functional.normalize(new, dim=1)
    features = nn.functional.normalize(tensor(rows.features), dim=1)
    expected = SCALE * query @ tensor(rows.text).T
    for image in range(CLASSES):
        own = torch.from_numpy(rows.images == image)
        key = nn.functional.normalize(features[own].mean(0), dim=0)
        weight = float(tensor(rows.weights)[own].sum()) * CLASSES
        expected[:, image] += 1.0 * torch.exp(-5.5 * (1 - query @ key)) * weight
    torch.testing.assert_close(head(new.float()).double(), expected, atol=1e-4, rtol=1e-4)


def test_tip_adapters_choice_is_the_likeliest_of_left_out_images() -> None:
    rows = make_rows(images=4)
    head = tip_adapter.fit_tip_adapter(rows, 0)
    scores = likelihoods(rows, folds_of(rows, 0), tip_adapter.cache_candidates)
    assert head.sharpness == tip_adapter.CHOICES[int(scores.argmax())][0]


def test_cross_validation_leaves_an_image_out_with_all_that_was_made_from_it() -> None:
    rows = make_rows(images=3)
    rows = replace(rows, real=np.arange(len(rows.real)) % 2 == 0)  # every second view is a synthetic image
    folds = folds_of(rows, 0)
    assert sorted(image for fold in folds for image in fold) == list(range(12))
    assert all(len({image // 3 for image in fold}) == CLASSES for fold in folds)
    trained: list[set[int]] = []
    measured: list[int] = []

    def fit(part: FeatureRows) -> Callable[[Numbers], Sequence[Numbers]]:
        trained.append(set(part.sources.ravel().tolist()))

        def predict(features: Numbers) -> list[Numbers]:
            measured.append(len(features))
            return [np.zeros((len(features), CLASSES))]

        return predict

    assert likelihoods(rows, folds, fit) == pytest.approx([-np.log(CLASSES)])
    assert trained == [set(range(12)) - fold for fold in folds]
    assert measured == [CLASSES] * 3  # of each image the real view alone


def test_more_noise_gets_more_weight_decay() -> None:
    def decay(noise: float) -> float:
        rows = make_rows(images=8, views=1)
        generator = np.random.default_rng(1)
        labels = rows.targets.argmax(1)
        features = np.eye(CLASSES, 200)[labels] + noise * generator.normal(size=(len(labels), 200))
        rows = replace(rows, features=features)
        scores = likelihoods(rows, folds_of(rows, 0), cross_validated.decay_candidates)
        return cross_validated.DECAYS[int(scores.argmax())]

    assert decay(0.5) > decay(0.01)


def test_the_cross_validated_head_does_not_mind_scale_and_origin() -> None:
    rows = make_rows()
    new = np.random.default_rng(4).normal(size=(7, WIDTH))
    moved = replace(rows, features=100 * rows.features + 5)
    first = cross_validated.fit_cross_validated(rows, 0)(torch.from_numpy(new).float())
    second = cross_validated.fit_cross_validated(moved, 0)(torch.from_numpy(100 * new + 5).float())
    torch.testing.assert_close(first, second, atol=5e-3, rtol=5e-3)


def test_a_head_that_reads_names_needs_a_backbone_that_does() -> None:
    backbone = module_backbone(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    for name in HEADS:
        if HEADS[name].needs_text:
            with pytest.raises(UserError, match="reads class names"):
                head_named(name, backbone)
        else:
            head_named(name, backbone)
