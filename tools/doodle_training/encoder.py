"""The adapter's image encoder: it distinguishes things by their shape, whether or not captions name them.

The CLIP that scores learns from captions and keeps little of a shape that no caption names. As
Stable Diffusion's adapters do, the doodle adapter therefore reads another encoder: the same
vision tower, trained to sort images by what they show and to draw them small.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dalda.doodles.draw import SIZE
from doodle_training.clip import PROJECTION, SKETCH, WIDTH, pixels
from doodle_training.images import NAMES

BATCH = 128


def new_encoder() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=256,
            num_attention_heads=4,
            num_hidden_layers=4,
            image_size=SIZE,
            patch_size=4,
            projection_dim=PROJECTION,
        )
    )


def even_chances(names: NDArray[np.int64]) -> NDArray[np.float64]:
    """Per image, so that every name is drawn equally often, though some have few images."""
    chances: NDArray[np.float64] = 1 / np.bincount(names, minlength=len(NAMES))[names]
    chances /= chances.sum()
    return chances


def embed(encoder: CLIPVisionModelWithProjection, images: NDArray[np.uint8]) -> Tensor:
    """[images, PROJECTION], as the adapter receives them, not normalised."""
    embeds: Tensor = encoder(pixel_values=pixels(images)).image_embeds
    return embeds


def train_encoder(data: Path, folder: Path, samples: int, seed: int) -> None:
    """Trains in one go (a few minutes) and saves; heads for sorting and drawing are thrown away."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    archive = np.load(data)
    images, names = archive["images"], archive["labels"][:, 0]
    chances = even_chances(names)
    encoder = new_encoder().train()
    sorter, sketcher = nn.Linear(PROJECTION, len(NAMES)), nn.Linear(PROJECTION, 3 * SKETCH * SKETCH)
    parameters = [*encoder.parameters(), *sorter.parameters(), *sketcher.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.05, betas=(0.9, 0.98))
    steps, started = samples // BATCH, time.time()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, steps, pct_start=0.06)
    for step in range(steps):
        chosen = rng.choice(len(images), size=BATCH, p=chances)
        seen = pixels(images[chosen])
        embeds = encoder(pixel_values=seen).image_embeds
        sort = F.cross_entropy(sorter(embeds), torch.from_numpy(names[chosen]))
        sketch = F.mse_loss(sketcher(embeds), F.avg_pool2d(seen, SIZE // SKETCH).flatten(1))
        optimizer.zero_grad()
        (sort + sketch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step + 1 == steps:
            line = {"step": step, "of": steps, "sort": sort.item(), "sketch": sketch.item()}
            print(json.dumps({**line, "seconds": round(time.time() - started)}), flush=True)
    encoder.eval().save_pretrained(folder)
