"""Trained classifiers: a head on a backbone, kept as safetensors and read back as one torch module.

A head is described by its tensors, however it was trained: a linear layer, on normalized features where
it needs them, with the cached images of Tip-Adapter (arXiv 2111.03930) beside it where there are some.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from dalda.config.roles import plain
from dalda.errors import UserError
from dalda.evaluation.backbones.base import Backbone, FeatureExtractor
from dalda.evaluation.inputs import trainable_copy
from dalda.models.weights import read_metadata, read_tensors, refuse_difference
from dalda.storage import StorageError, make_folder, parse_json, write

FORMAT = 1
FOLDER, SUFFIX = "classifiers", ".safetensors"
"""Where a run folder keeps its classifiers."""
SHOTS = re.compile(r"-(\d+|all)shots$")
"""An arm's name that ends as a file's name says the shots."""
HEAD, BACKBONE = "head.", "backbone."
"""Beginnings of the tensors' names in a file."""
WHAT = "the classifier"


class Head(nn.Module):
    """Features [n, d] to logits [n, classes], in float32.

    `weight` [classes, d] and `bias` [classes] are a linear layer; `normalized` features have length one
    before it. With `keys` [m, d] and `values` [m, classes], exp(-sharpness (1 - features keys^T)) values is
    added: the cache of Tip-Adapter, whose strength is in the values.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        normalized: bool = False,
        keys: Tensor | None = None,
        values: Tensor | None = None,
        sharpness: float = 0.0,
    ) -> None:
        super().__init__()
        self.normalized, self.sharpness = normalized, sharpness
        for name, value in {"weight": weight, "bias": bias, "keys": keys, "values": values}.items():
            self.register_buffer(name, None if value is None else value.detach().clone().float())

    weight: Tensor
    bias: Tensor
    keys: Tensor | None
    values: Tensor | None

    def forward(self, features: Tensor) -> Tensor:
        if self.normalized:
            features = nn.functional.normalize(features, dim=1)
        logits = features @ self.weight.T + self.bias
        if self.keys is None or self.values is None:
            return logits
        return logits + torch.exp(-self.sharpness * (1 - features @ self.keys.T)) @ self.values


@dataclass(frozen=True)
class TrainedHead:
    """A trial's head, and the backbone's weights that were trained with it, by their names in the model."""

    head: Head
    finetune: str = "head"
    trained: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassifierInfo:
    """What a classifier's file says beside its tensors."""

    trial: str
    """The id of its trial in the run."""
    dataset: str
    arm: str
    seed: int
    shots: int | None
    classes: tuple[str, ...]
    backbone: str
    """A name, folder or Hub id."""
    fingerprint: str
    """The hash of the backbone's weights, settings and preprocessing, before any training."""
    size: int
    """Side in pixels of what the backbone reads."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the backbone's own preprocessing, as transformers writes them; empty where unknown."""
    finetune: str = "head"
    normalized: bool = False
    sharpness: float = 0.0
    tensors: tuple[str, ...] = ()
    """The names of all tensors, so that a missing one is noticed."""
    format: int = FORMAT


class ImageClassifier(nn.Module):
    """A backbone and a head in one: preprocessed images [n, 3, size, size] to logits [n, classes]."""

    def __init__(self, backbone: FeatureExtractor, head: Head, info: ClassifierInfo) -> None:
        super().__init__()
        self.backbone, self.info = backbone, info
        self.head = head
        if isinstance(backbone, Backbone):
            self.model = backbone.model
            self.head.to(backbone.device)
        self.eval().requires_grad_(False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Images of any size, as the backbone wants them. Raises UserError for no torch backbone."""
        return self._torch_backbone().pixels(images)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self._torch_backbone().embed(pixels))
        return logits

    @torch.no_grad()
    def probabilities(self, images: Sequence[Image.Image]) -> Tensor:
        """Class probabilities of images of any size, float64 [n, classes] on the CPU."""
        features = self.backbone.extract(images).to(self.head.weight.device)
        found: Tensor = self.head(features).double().softmax(1).cpu()
        if not found.isfinite().all():
            raise UserError(f"{WHAT} of {self.info.arm!r} computes no numbers; train it again")
        return found

    def _torch_backbone(self) -> Backbone:
        if not isinstance(self.backbone, Backbone):
            raise UserError(f"the backbone '{self.backbone.name}' is no torch model; use `probabilities`")
        return self.backbone


def classifier_file(run: Path, arm_folder: str, seed: int, shots: int | None) -> Path:
    """The file of a trial's classifier in a run folder; no two trials share one."""
    number = "" if shots is None else f"-{shots}shots"
    if shots is None and SHOTS.search(arm_folder):
        number = "-allshots"
    return run / FOLDER / f"{arm_folder}{number}-seed{seed}{SUFFIX}"


def write_classifier(path: Path, trained: TrainedHead, info: ClassifierInfo) -> None:
    """Writes a classifier; the same one has the same bytes."""
    from safetensors.torch import save

    tensors = {f"{HEAD}{name}": value for name, value in trained.head.state_dict().items()}
    tensors |= {f"{BACKBONE}{name}": value for name, value in trained.trained.items()}
    # One entry: safetensors writes several in any order.
    info = replace(info, tensors=tuple(sorted(tensors)))
    text = json.dumps(plain(asdict(info)), ensure_ascii=False, sort_keys=True)
    make_folder(path.parent, root=path.parent.parent)
    content = save({name: value.cpu().contiguous() for name, value in tensors.items()}, {"dalda": text})
    write(path, content, root=path.parent.parent)


def read_classifier_info(path: Path) -> ClassifierInfo:
    """What a classifier's file says of itself. Raises UserError for another file."""
    try:
        text = str(read_metadata(path).get("dalda", ""))
    except StorageError:
        text = ""
    problem = f"'{path}' is no classifier of dalda train; name its run folder, or a file in its '{FOLDER}'"
    if not text:
        raise UserError(problem)
    try:
        info: ClassifierInfo = TypeAdapter(ClassifierInfo).validate_python(parse_json(text, f"'{path}'"))
    except ValidationError:
        raise UserError(problem) from None
    if info.format != FORMAT:
        raise UserError(f"'{path}' has the format {info.format}, newer than this dalda; update it")
    if not info.classes or len(set(info.classes)) < len(info.classes):
        raise UserError(problem)
    return info


def read_classifier(path: Path, backbone: FeatureExtractor) -> ImageClassifier:
    """The classifier of a file, on its backbone.

    Raises UserError for another backbone than it was trained on, and for tensors that do not fit it.
    """
    info = read_classifier_info(path)
    if backbone.fingerprint != info.fingerprint:
        raise UserError(
            f"'{path}' was trained on the backbone '{info.backbone}' with fingerprint {info.fingerprint}, "
            f"but '{backbone.name}' has {backbone.fingerprint}; name the same weights with --backbone"
        )
    tensors, where = read_tensors(path, WHAT), f"{WHAT} in '{path}'"
    refuse_difference(tensors, info.tensors, where)
    parts = _part(tensors, HEAD)
    classes, width = len(info.classes), backbone.dimensions
    shapes = {"weight": (classes, width), "bias": (classes,)}
    if "keys" in parts:
        cached = parts["keys"].numel() // width
        shapes |= {"keys": (cached, width), "values": (cached, classes)}
    refuse_difference(parts, shapes, where)
    if info.size != backbone.size:
        raise UserError(
            f"{where} reads {info.size} pixels, and its backbone {backbone.size}; train it again"
        )
    misshapen = [name for name, shape in shapes.items() if tuple(parts[name].shape) != shape]
    if misshapen:
        raise UserError(f"{where} has tensors of the wrong shape ({', '.join(misshapen)}); train it again")
    head = Head(**parts, normalized=info.normalized, sharpness=info.sharpness)
    if info.finetune != "head" and isinstance(backbone, Backbone):
        backbone = trainable_copy(backbone, info.finetune, info.seed)
        trained = _part(tensors, BACKBONE)
        try:
            unexpected = backbone.model.load_state_dict(trained, strict=False).unexpected_keys
        except RuntimeError:
            unexpected = ["other shapes"]
        if unexpected:
            raise UserError(f"{where} does not fit its backbone ({unexpected[0]}); train it again")
    return ImageClassifier(backbone, head, info)


def _part(tensors: Mapping[str, Tensor], beginning: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {
        name.removeprefix(beginning): value for name, value in tensors.items() if name.startswith(beginning)
    }
