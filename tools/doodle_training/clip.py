"""The doodle CLIP: contrastive on images and captions, and able to draw what it saw.

Besides CLIP's loss (arXiv 2103.00020), a linear layer, thrown away afterwards, must draw a small
copy of the image from the projected image embedding. Words name only some shapes; without this
the embedding would forget the others, and the image prompt could not carry them.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from dalda.doodles.draw import SIZE
from dalda.doodles.vocabulary import CLASSES, UNFAMILIAR
from doodle_training.images import NAMES

BATCH = 128
WIDTH = 128
PROJECTION = 256
SKETCH = 16
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


def pixels(images: np.ndarray) -> Tensor:
    """CLIP's own normalisation of [batch, height, width, 3] bytes."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    shared = {"hidden_size": WIDTH, "intermediate_size": 256, "num_attention_heads": 4}
    text = {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 2,
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"num_hidden_layers": 4, "image_size": SIZE, "patch_size": 4}
    config = CLIPConfig(
        text_config={**shared, **text, "projection_dim": PROJECTION},
        vision_config={**shared, **vision, "projection_dim": PROJECTION},
        projection_dim=PROJECTION,
    )
    return CLIPModel(config)


class Clip:
    """The three things that training and measuring ask of a CLIP."""

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def texts(self, captions: list[str]) -> Tensor:
        """Unit text embeddings; padded to the longest, since padding comes after what is read."""
        tokens = self.tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
        states = self.model.text_model(input_ids=tokens.input_ids).pooler_output
        return F.normalize(self.model.text_projection(states), dim=-1)

    def images(self, images: Tensor) -> Tensor:
        """Image embeddings as the adapter receives them, not normalised."""
        embeds: Tensor = self.model.visual_projection(
            self.model.vision_model(pixel_values=images).pooler_output
        )
        return embeds


def contrastive_loss(logits: Tensor, caption_of: Tensor) -> Tensor:
    """CLIP's symmetric loss for [images, distinct captions]; a caption may fit several images."""
    fits = F.one_hot(caption_of, logits.shape[1]).T.float()
    to_images = -(F.log_softmax(logits.T, dim=1) * fits).sum(dim=1) / fits.sum(dim=1)
    return (F.cross_entropy(logits, caption_of) + to_images.mean()) / 2


def train_clip(data: Path, folder: Path, tokenizer: CLIPTokenizer, samples: int, seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    archive = np.load(data)
    images, captions = archive["images"], archive["captions"]
    clip = Clip(new_clip(tokenizer).train(), tokenizer)
    sketcher = nn.Linear(PROJECTION, 3 * SKETCH * SKETCH)
    parameters = [*clip.model.parameters(), *sketcher.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    steps, started = samples // BATCH, time.time()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.2e-3, steps, pct_start=0.06)
    for step in range(steps):
        chosen = rng.integers(len(images), size=BATCH)
        spoken = captions[chosen, rng.integers(captions.shape[1], size=BATCH)]
        distinct, caption_of = np.unique(spoken, return_inverse=True)
        seen = pixels(images[chosen])
        embeds = clip.images(seen)
        scale = clip.model.logit_scale.exp().clamp(max=60)
        logits = scale * F.normalize(embeds, dim=-1) @ clip.texts(list(distinct)).T
        contrast = contrastive_loss(logits, torch.from_numpy(caption_of))
        sketch = F.mse_loss(sketcher(embeds), F.avg_pool2d(seen, SIZE // SKETCH).flatten(1))
        optimizer.zero_grad()
        (contrast + sketch).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            line = {"step": step, "of": steps, "contrast": contrast.item(), "sketch": sketch.item()}
            print(json.dumps({**line, "seconds": round(time.time() - started)}), flush=True)
    clip.model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def measure_clip(folder: Path, data: Path) -> dict[str, float]:
    """How well the class names are known: accuracy and shares of scores at or below 0.3."""
    archive = np.load(data)
    names = [NAMES[index] for index in archive["labels"][:, 0]]
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    clip = Clip(CLIPModel.from_pretrained(folder).eval(), tokenizer)
    texts = clip.texts([f"a photo of a {name}" for name in CLASSES])
    embeds = torch.cat([clip.images(pixels(part)) for part in np.array_split(archive["images"], 20)])
    scores = (clip.model.logit_scale.exp() * F.normalize(embeds, dim=-1) @ texts.T).softmax(dim=-1)
    true = torch.tensor([CLASSES.index(name) for name in names])
    score = scores[torch.arange(len(true)), true]
    unknown = torch.tensor([name in UNFAMILIAR for name in names])
    right = (scores.argmax(dim=1) == true).float()
    low = (score <= 0.3).float()
    return {
        "zero_shot_known": right[~unknown].mean().item(),
        "zero_shot_unknown": right[unknown].mean().item(),
        "low_scores_known": low[~unknown].mean().item(),
        "low_scores_unknown": low[unknown].mean().item(),
        "low_scores": low.mean().item(),
    }
