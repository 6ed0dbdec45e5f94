"""Weights in eight bits: half the memory of half precision, for some time and little change of images.

torchao is the library for this; diffusers 0.42 imports it at every start where it is installed, and fails
to with its newest version.
"""

from typing import Any

import torch

SMALLEST = 1e-12
"""A row of zeros has this scale."""


class EightBitLinear(torch.nn.Linear):
    """A linear layer with a whole number from -127 to 127 for each weight, and a scale for each row."""

    rounded: torch.Tensor
    scale: torch.Tensor

    def __init__(self, layer: torch.nn.Linear) -> None:
        torch.nn.Module.__init__(self)  # that of a linear layer would make weights
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        exact = layer.weight.detach().float()
        scale = exact.abs().amax(1, keepdim=True).clamp(min=SMALLEST) / 127
        self.register_buffer("rounded", (exact / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.to(layer.weight.dtype))

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        """The weights in the layer's precision, made each time they are used."""
        return self.rounded.to(self.scale.dtype) * self.scale


def round_to_eight_bits(pipeline: Any) -> None:
    """Replaces the linear layers of all parts of a pipeline but the autoencoder, which decides details."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module) and name != "vae":
            for module in list(part.modules()):
                for place, layer in list(module.named_children()):
                    if type(layer) is torch.nn.Linear:
                        setattr(module, place, EightBitLinear(layer))
