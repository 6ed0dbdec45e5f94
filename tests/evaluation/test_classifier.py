"""A classifier's file: what it computes, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from dalda.errors import UserError
from dalda.evaluation.backbones.module import module_backbone
from dalda.evaluation.classifier import (
    ClassifierInfo,
    Head,
    TrainedHead,
    classifier_file,
    read_classifier,
    read_classifier_info,
    write_classifier,
)

BACKBONE = module_backbone(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()))
INFO = ClassifierInfo(
    trial="t",
    dataset="d",
    arm="real",
    seed=0,
    shots=None,
    classes=("a", "b"),
    backbone=BACKBONE.name,
    fingerprint=BACKBONE.fingerprint,
    size=BACKBONE.size,
)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_a_head_is_a_linear_layer_on_features_that_may_be_normalized() -> None:
    weight, bias, features = numbers(2, 3), numbers(2), numbers(5, 3)
    torch.testing.assert_close(Head(weight, bias)(features), features @ weight.T + bias)
    unit = features / features.norm(dim=1, keepdim=True)
    torch.testing.assert_close(Head(weight, bias, normalized=True)(features), unit @ weight.T + bias)


def test_the_cache_of_tip_adapter_is_added() -> None:
    """Equations 3 and 6 of arXiv 2111.03930: alpha exp(-beta (1 - f F^T)) L + f W^T."""
    weight, features, labels = numbers(2, 3), numbers(5, 3), torch.eye(2)[[0, 1, 1, 0]]
    keys = nn.functional.normalize(numbers(4, 3), dim=1)
    head = Head(weight, torch.zeros(2), normalized=True, keys=keys, values=0.7 * labels, sharpness=5.5)
    for feature, found in zip(features, head(features), strict=True):
        unit = feature / feature.norm()
        expected = weight @ unit
        for key, label in zip(keys, labels, strict=True):
            expected = expected + 0.7 * torch.exp(-5.5 * (1 - unit @ key)) * label
        torch.testing.assert_close(found, expected)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    width = BACKBONE.dimensions
    keys, values = numbers(3, width), numbers(3, 2)
    head = Head(numbers(2, width), numbers(2), keys=keys, values=values, sharpness=2.0, normalized=True)
    info = replace(INFO, sharpness=2.0, normalized=True, classes=("ä", "b"))
    for name in ("one", "other"):
        write_classifier(tmp_path / name / "x.safetensors", TrainedHead(head), info)
    path = tmp_path / "one/x.safetensors"
    assert path.read_bytes() == (tmp_path / "other/x.safetensors").read_bytes()
    names = ("head.bias", "head.keys", "head.values", "head.weight")
    assert read_classifier_info(path) == replace(info, tensors=names)
    features = numbers(4, width)
    torch.testing.assert_close(read_classifier(path, BACKBONE).head(features), head(features))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    width = BACKBONE.dimensions
    path = tmp_path / "run/x.safetensors"
    head = Head(numbers(2, width), numbers(2))
    for bad_head, info, sentence in [
        (head, replace(INFO, fingerprint="other"), "with fingerprint other"),
        (head, replace(INFO, classes=("a", "b", "c")), "wrong shape"),
        (Head(numbers(2, width + 1), numbers(2)), INFO, "wrong shape"),
        (Head(numbers(2, width), torch.full((2,), torch.nan)), INFO, "NaN or infinity"),
        (head, replace(INFO, format=2), "format 2, newer"),
        (head, replace(INFO, classes=("a", "a")), "no classifier of dalda train"),
        (head, replace(INFO, size=10**9), "reads 1000000000 pixels"),
        (
            Head(numbers(2, width), numbers(2), keys=torch.ones(()), values=numbers(1, 2)),
            INFO,
            "wrong shape",
        ),
    ]:
        write_classifier(path, TrainedHead(bad_head), info)
        with pytest.raises(UserError, match=sentence):
            read_classifier(path, BACKBONE)
    write_classifier(path, TrainedHead(head, "head", {"surplus": numbers(2)}), INFO)
    assert read_classifier(path, BACKBONE).classes == ("a", "b")


@pytest.mark.parametrize("lost", ["head.bias", "head.weight", "head.keys", "backbone.scale"])
def test_a_tensor_that_is_missing_is_named(tmp_path: Path, lost: str) -> None:
    """What a backbone has learned is not silently left as it was before."""
    width = BACKBONE.dimensions
    head = Head(numbers(2, width), numbers(2), keys=numbers(3, width), values=numbers(3, 2))
    path = tmp_path / "run/x.safetensors"
    write_classifier(path, TrainedHead(head, "full", {"scale": numbers(2)}), INFO)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != lost}  # noqa: SIM118
        save_file(tensors, path, file.metadata())
    with pytest.raises(UserError, match=rf"lacks tensors \({lost}\)"):
        read_classifier(path, BACKBONE)


def test_no_two_trials_share_a_file() -> None:
    arms = ["x", "x-1shots", "x-allshots", "x-1shots-allshots", "x-1shots-1shots"]
    files = {classifier_file(Path("run"), arm, 0, shots) for arm in arms for shots in (None, 1, 11)}
    assert len(files) == 3 * len(arms)
    assert classifier_file(Path("run"), "x", 0, None) == Path("run/classifiers/x-seed0.safetensors")
    assert classifier_file(Path("run"), "x", 0, 1) == Path("run/classifiers/x-1shots-seed0.safetensors")
