"""The independent judge: a small network that tells what a doodle shows, trained on drawings alone."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dalda.doodles.draw import SIZE
from dalda.doodles.vocabulary import BACKGROUNDS, CLASSES, COLOURS
from doodle_training.images import draw_block

BATCH = 128
SEED = 5_000_000
HEADS = (len(CLASSES), len(COLOURS), len(BACKGROUNDS))


def scaled(images: np.ndarray) -> Tensor:
    """[batch, height, width, 3] bytes to [batch, 3, height, width] in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Judge(nn.Module):
    """Class, colour and background, each by a head of its own."""

    def __init__(self) -> None:
        super().__init__()

        def stage(inside: int, outside: int) -> nn.Sequential:
            convolution = nn.Conv2d(inside, outside, 3, padding=1)
            return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2))

        flat = 128 * (SIZE // 8) ** 2
        stages = (stage(3, 32), stage(32, 64), stage(64, 128))
        self.body = nn.Sequential(*stages, nn.Flatten(), nn.Linear(flat, 128), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(128, count) for count in HEADS])

    def forward(self, images: Tensor) -> list[Tensor]:
        seen = self.body(images)
        return [head(seen) for head in self.heads]

    @torch.no_grad()
    def verdicts(self, images: np.ndarray) -> np.ndarray:
        """Indices into CLASSES, COLOURS and BACKGROUNDS, [batch, 3]."""
        parts = np.array_split(images, max(1, len(images) // 500))
        return np.concatenate(
            [np.stack([head.argmax(1).numpy() for head in self(scaled(part))], axis=1) for part in parts]
        )


def drawings(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform drawings of all classes and their labels as the judge counts them."""
    from doodle_training.images import NAMES

    images, labels, _ = draw_block(seed, count, uniform=True)
    place = np.array([CLASSES.index(name) if name in CLASSES else -1 for name in NAMES])
    return images, np.concatenate([place[labels[:, :1]], labels[:, 1:]], axis=1)


def train_judge(path: Path, steps: int = 2000) -> None:
    """Trains on fresh drawings, 24 blocks of a thousand, and saves the weights."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    blocks = [drawings(SEED + index, 1000) for index in range(24)]
    images = np.concatenate([block[0] for block in blocks])
    labels = np.concatenate([block[1] for block in blocks])
    judge = Judge().train()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = rng.integers(len(images), size=BATCH)
        answers = judge(scaled(images[chosen]))
        targets = torch.from_numpy(labels[chosen])
        losses = [F.cross_entropy(answer, targets[:, head]) for head, answer in enumerate(answers)]
        loss = sum(losses, torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    save_file(judge.eval().state_dict(), path)


def load_judge(path: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.eval()
