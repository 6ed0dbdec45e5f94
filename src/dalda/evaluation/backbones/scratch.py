"""`scratch`: a small network without pretrained weights, for those who have no features to build on.

It is trained whole, by the schedule `config.train.SCRATCH_SCHEDULE`.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from dalda.evaluation.backbones.base import Backbone
from dalda.evaluation.backbones.module import module_backbone
from dalda.evaluation.backbones.table import HeadRecipe
from dalda.seeding import seed_of
from dalda.types import SCRATCH

WIDTHS = (32, 64, 128)
RECIPE = HeadRecipe(learning_rate=1e-3, weight_decay=0.05, backbone_rate=1e-3)


class SmallNetwork(nn.Module):
    """Three convolutions, each with batch norm, ReLU and pooling: [n, 3, 32, 32] to [n, 128]."""

    image_size = 32

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for inside, outside in zip((3, *WIDTHS), WIDTHS, strict=False):
            convolution = nn.Conv2d(inside, outside, 3, padding=1)
            stages += [convolution, nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2)]
        self.stages = nn.Sequential(*stages)

    def forward(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.stages(pixels)
        return maps.mean((2, 3))


def scratch_backbone(device: str) -> Backbone:
    """The network before training, with the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(0, SCRATCH))
        network = SmallNetwork()
    return replace(module_backbone(network, device=device, recipe=RECIPE), name=SCRATCH)
