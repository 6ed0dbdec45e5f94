"""The backbone `doodle-vision`: a small ResNet that tells 24 other drawn things apart.

It never saw a class of the data set, nor any word: the counterpart, in the embedded world, of a
ResNet-50 that learned from ImageNet. Each step draws its batch from (seed, step), so a stopped
training resumes and ends with the same weights.
"""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, ResNetConfig, ResNetModel, ViTImageProcessorPil

from dalda.doodles.dataset import SIZES, doodle_of
from dalda.doodles.draw import SIZE, draw_doodle, random_doodle
from dalda.doodles.vocabulary import CLASSES, FAMILIAR
from doodle_training.other_things import OTHER_THINGS

PER_THING = 1000
DRAWING_SEED = 6_000_000
INPUT = 2 * SIZE
"""A ResNet's stem makes an image four times smaller, so it sees doodles at twice their size."""
BATCH = 96
STEPS = 1500
SAVE_EVERY = 100
WIDTHS = [48, 96, 192]


def draw_thing(name: str) -> NDArray[np.uint8]:
    """PER_THING drawings of one thing: [PER_THING, SIZE, SIZE, 3]."""
    rng = np.random.default_rng([DRAWING_SEED, list(OTHER_THINGS).index(name)])
    return np.stack([draw_doodle(random_doodle(rng, name), rng, OTHER_THINGS) for _ in range(PER_THING)])


def drawings(path: Path, processes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All drawings, made once, and the number of the thing in each."""
    if not path.exists():
        with ProcessPoolExecutor(processes) as pool:
            images = np.concatenate(list(pool.map(draw_thing, OTHER_THINGS)))
        partial = path.with_suffix(".partial.npy")
        np.save(partial, images)
        partial.rename(path)
    return np.load(path), np.repeat(np.arange(len(OTHER_THINGS)), PER_THING)


def new_model() -> ResNetModel:
    return ResNetModel(
        ResNetConfig(
            num_channels=3, embedding_size=32, hidden_sizes=WIDTHS, depths=[1, 1, 1], layer_type="basic"
        )
    )


def pixels(images: NDArray[np.uint8]) -> Tensor:
    """[batch, SIZE, SIZE, 3] bytes to [batch, 3, INPUT, INPUT] in [-1, 1], as the processor does."""
    small = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.interpolate(small, size=(INPUT, INPUT), mode="bilinear", antialias=True)


def train_vision(folder: Path, processes: int, seed: int = 0) -> None:
    """Trains, or goes on training, and writes the model and its processor to `folder/export`."""
    folder.mkdir(parents=True, exist_ok=True)
    images, things = drawings(folder / "drawings.npy", processes)
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the order of sums, and so the weights, depends on it
    model, head = new_model().train(), nn.Linear(WIDTHS[-1], len(OTHER_THINGS))
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, STEPS)
    stateful = {"model": model, "head": head, "optimizer": optimizer, "schedule": schedule}
    state, first, started = folder / "state.pt", 0, time.time()
    if state.exists():
        saved = torch.load(state, weights_only=True)
        first = saved.pop("step")
        for name, part in stateful.items():
            part.load_state_dict(saved[name])
    for step in range(first, STEPS):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(len(images), size=BATCH)
        flipped = torch.from_numpy(rng.random(BATCH) < 0.5)[:, None, None, None]
        batch = pixels(images[chosen])
        logits = head(model(torch.where(flipped, batch.flip(3), batch)).pooler_output.flatten(1))
        wanted = torch.from_numpy(things[chosen])
        loss = F.cross_entropy(logits, wanted, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == STEPS:
            share = (logits.argmax(1) == wanted).float().mean().item()
            line = {"step": step + 1, "of": STEPS, "loss": loss.item(), "correct": share}
            print(json.dumps({**line, "seconds": round(time.time() - started)}), flush=True)
            partial = state.with_suffix(".partial")
            torch.save(
                {**{name: part.state_dict() for name, part in stateful.items()}, "step": step + 1}, partial
            )
            partial.rename(state)
    model.eval()
    even_out(model, images)
    model.half().save_pretrained(folder / "export")
    processor = ViTImageProcessorPil(
        size={"height": INPUT, "width": INPUT}, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    processor.save_pretrained(folder / "export")


@torch.no_grad()
def even_out(model: ResNetModel, images: NDArray[np.uint8]) -> None:
    """Scales every feature to a standard deviation of 1 over the drawings.

    The last layer is relu(normalised branch + normalised shortcut), and both are scaled alike.
    """
    features = torch.cat(
        [model(pixels(part)).pooler_output.flatten(1) for part in np.array_split(images[::8], 40)]
    )
    scale = 1 / features.std(0).clamp_min(1e-3)
    last = model.encoder.stages[-1].layers[-1]
    for norm in (last.shortcut.normalization, last.layer[-1].normalization):
        norm.weight *= scale
        norm.bias *= scale


def measure_vision(folder: Path) -> dict[str, float]:
    """A linear probe on half of the validation set: its accuracy on all, known and unknown classes.

    50 images a class train a softmax regression (L2 strength 0.01), the other 50 test it.
    """
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
    drawn = [(name, number) for name in CLASSES for number in range(SIZES["val"] // 2)]
    images = [draw_doodle(*doodle_of("val", name, number)) for name, number in drawn]
    labels = torch.tensor([CLASSES.index(name) for name, _ in drawn])
    with torch.no_grad():
        parts = [
            model(
                **processor(images=images[start : start + 200], return_tensors="pt")
            ).pooler_output.flatten(1)
            for start in range(0, len(images), 200)
        ]
    features, first = torch.cat(parts).double(), torch.arange(len(drawn)) % 2 == 0
    head = nn.Linear(features.shape[1], len(CLASSES), dtype=torch.float64)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features[first]), labels[first]) + 0.01 * head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer.step(closure)  # type: ignore[no-untyped-call]
    correct = (head(features[~first]).argmax(1) == labels[~first]).double()
    known = torch.tensor([CLASSES[label] in FAMILIAR for label in labels[~first]])
    shares = {"all": correct.mean(), "known": correct[known].mean(), "unknown": correct[~known].mean()}
    return {f"linear probe, {name}": round(share.item(), 4) for name, share in shares.items()}
