"""A trained classifier as one ONNX file that needs neither torch nor dalda."""

import json
import warnings
from typing import TYPE_CHECKING, Any

from dalda.config import ExportConfig
from dalda.errors import UserError
from dalda.seeding import generator_of
from dalda.storage import exists, write_new
from dalda.workflows.classifier import load_classifier
from dalda.workflows.reports import ClassifierExport

if TYPE_CHECKING:
    from dalda.evaluation.classifier import ImageClassifier

INPUT, OUTPUT = "pixels", "probabilities"
LARGEST_DIFFERENCE = 1e-4
"""Of a probability, between the file and torch."""


def export_onnx(config: ExportConfig) -> ClassifierExport:
    """Writes a run's classifier: preprocessed images [n, 3, size, size] to probabilities [n, classes].

    The file holds the class names and the settings of the preprocessing as metadata. It is compared with
    torch before it is written. Raises UserError where the package is missing, or the two differ.
    """
    if exists(config.out):
        raise UserError(f"'{config.out}' exists already and is not overwritten; name another with -o")
    classifier = load_classifier(config.source, device="cpu")
    content = onnx_bytes(classifier)
    difference = largest_difference(content, classifier)
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"the ONNX file's probabilities differ by {difference:.1e} from torch's, more than "
            f"{LARGEST_DIFFERENCE:g}; nothing is written, use the classifier in torch"
        )
    write_new(config.out, content)
    info = classifier.info
    return ClassifierExport(config.out, info.arm, info.seed, len(info.classes), info.size, difference)


def onnx_bytes(classifier: "ImageClassifier") -> bytes:
    """The ONNX model; any number of images at a time."""
    import torch
    from torch import Tensor, nn

    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("an export to ONNX needs more packages: pip install 'dalda[onnx]'") from None

    class Probabilities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = classifier

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.classifier(pixels)
            return logits.softmax(1)

    size, info = classifier.info.size, classifier.info
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own parts
        program: Any = torch.onnx.export(
            Probabilities().eval(),
            (torch.zeros(2, 3, size, size),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("images")},),
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    properties = {
        "classes": info.classes,
        "size": info.size,
        "backbone": info.backbone,
        "fingerprint": info.fingerprint,
        "preprocessing": dict(info.preprocessing),
    }
    for name, value in properties.items():
        model.metadata_props.add(key=name, value=json.dumps(value, ensure_ascii=False))
    content: bytes = model.SerializeToString()
    return content


def largest_difference(content: bytes, classifier: "ImageClassifier") -> float:
    """The largest difference of a probability between onnxruntime and torch, on one and on three images."""
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = 0.0
    for number in (1, 3):
        side = classifier.info.size
        pixels = generator_of(0, "onnx", number).standard_normal((number, 3, side, side), np.float32)
        (theirs,) = session.run([OUTPUT], {INPUT: pixels})
        with torch.no_grad():
            ours = classifier(torch.from_numpy(pixels)).softmax(1).numpy()
        found = max(found, float(np.abs(theirs - ours).max()))
    return found
