"""The training loop of tokens and LoRAs: noise prediction on real images (arXiv 2208.01618, 2106.09685).

All randomness is drawn per step, and the state is written now and then: a training that is stopped anywhere
ends with the same bytes as an unbroken one.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import save
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.methods.fitting.recipe import FitJob
from dalda.models.adaptation import UNET_LAYERS, A, B, TrainableModel, embed_prompts
from dalda.models.concepts import PLACEHOLDER
from dalda.models.weights import read_tensors
from dalda.seeding import generator_of, seed_of
from dalda.storage import exists, remove, write
from dalda.types import RealImage

CHECKPOINT_SECONDS = 10.0
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""State of AdamW."""
OpenImage = Callable[[RealImage], Image.Image]
MAX_PIXELS = 300_000_000
"""Of all images that stay open, at three bytes each."""


@dataclass
class Training:
    """A training at some step."""

    job: FitJob
    model: TrainableModel
    parameters: dict[str, nn.Parameter]
    """Tokens and LoRA tensors by their names in the artefact."""
    optimizer: torch.optim.AdamW
    step: int = 0
    images: dict[str, Image.Image] = field(default_factory=dict)

    @classmethod
    def begin(cls, job: FitJob, model: TrainableModel) -> "Training":
        """A training at step 0: tokens at their words, and LoRAs that change nothing."""
        recipe = job.recipe
        found: dict[str, nn.Parameter] = {}
        if recipe.vectors:
            table = model.text_encoder.get_input_embeddings().weight.detach().float().cpu()
            for number, (_, wording) in enumerate(job.wordings):
                words = model.tokenizer(recipe.initial_token or wording, add_special_tokens=False).input_ids
                rows = [words[place % len(words)] for place in range(recipe.vectors)]
                found[f"token.{number}"] = nn.Parameter(table[rows].to(model.device))
        for name, layer in model.layers.layers.items() if recipe.rank else ():
            if name.endswith(UNET_LAYERS) or recipe.text_encoder:
                noise = torch.Generator().manual_seed(seed_of(job.seed, "lora", name))
                down = torch.randn(recipe.rank, layer.in_features, generator=noise) / recipe.rank
                found[name + A] = nn.Parameter(down.to(model.device))
                found[name + B] = nn.Parameter(
                    torch.zeros(layer.out_features, recipe.rank, device=model.device)
                )
        tokens = [value for name, value in found.items() if name.startswith("token.")]
        loras = [value for name, value in found.items() if not name.startswith("token.")]
        groups: list[dict[str, Any]] = [
            {"params": values, "lr": rate, "initial_lr": rate}
            for values, rate in ((tokens, recipe.token_rate), (loras, recipe.lora_rate))
            if values
        ]
        decay = recipe.weight_decay
        return cls(job, model, found, torch.optim.AdamW(groups, weight_decay=decay, foreach=False))

    def advance(self, open_image: OpenImage) -> float:
        """One step; returns its loss."""
        recipe, model, step = self.job.recipe, self.model, self.step
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * recipe.rate(step)
        noise = torch.Generator().manual_seed(seed_of(self.job.seed, "fit", step))
        draws = generator_of(self.job.seed, "fit images", step)
        latents, prompts, tokens = zip(
            *(self._example(image, draws, noise, open_image) for image in self._batch()), strict=True
        )
        clean = torch.cat(latents)
        times = torch.randint(len(model.alphas_cumprod), (len(clean),), generator=noise)
        epsilon = torch.randn(clean.shape, generator=noise).to(clean)
        share = model.alphas_cumprod.cpu()[times].to(clean)[:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * epsilon
        target = epsilon
        if model.prediction_type == "v_prediction":
            target = share.sqrt() * epsilon - (1 - share).sqrt() * clean
        mixed = torch.autocast("cuda", torch.bfloat16) if model.device.startswith("cuda") else nullcontext()
        with torch.enable_grad(), model.layers.applied([(None, self.parameters, 1.0)]), mixed:
            text = embed_prompts(model.tokenizer, model.text_encoder, prompts, tokens)
            prediction = model.predict(noisy, times.to(model.device), text)
            loss = nn.functional.mse_loss(prediction.float(), target.float())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _batch(self) -> Iterator[RealImage]:
        """The images of this step: all in random order, again and again."""
        images, size = self.job.images, self.job.recipe.batch_size
        for place in range(self.step * size, (self.step + 1) * size):
            order = generator_of(self.job.seed, "fit order", place // len(images)).permutation(len(images))
            yield images[int(order[place % len(images)])]

    def _example(
        self, image: RealImage, draws: np.random.Generator, noise: torch.Generator, open_image: OpenImage
    ) -> tuple[Tensor, str, Tensor | None]:
        """Latents, prompt and token of a real image."""
        recipe = self.job.recipe
        mirrored = draws.random() < recipe.flip
        template = recipe.templates[int(draws.integers(len(recipe.templates)))]
        key = f"{image.sha256}{' mirrored' if mirrored else ''}"
        if key not in self.images:
            opened = open_image(image)
            held = sum(found.width * found.height for found in self.images.values())
            if held + opened.width * opened.height > MAX_PIXELS:
                self.images.clear()  # they are opened again when they are needed
            self.images[key] = ImageOps.mirror(opened) if mirrored else opened
        with torch.no_grad():
            latents = self.model.encode_image(key, self.images[key], noise).float()
        number = next(place for place, (name, _) in enumerate(self.job.wordings) if name == image.label)
        token = self.parameters.get(f"token.{number}")
        return (
            latents,
            template.format(self.job.wordings[number][1] if token is None else PLACEHOLDER),
            token,
        )

    def artefact(self) -> bytes:
        """The learned tensors as a safetensors file."""
        return save({name: value.detach().cpu().contiguous() for name, value in self.parameters.items()})

    def write_state(self, path: Path) -> None:
        """Writes everything that the next step depends on."""
        state: dict[str, Tensor] = {"step": torch.tensor([self.step])}
        for name, value in self.parameters.items():
            state[f"value.{name}"] = value.detach()
            moments = self.optimizer.state[value]
            state |= {f"{part}.{name}": moments[part].reshape(-1) for part in MOMENTS if part in moments}
        write(path, save({name: value.cpu().contiguous() for name, value in state.items()}), sync=False)

    def read_state(self, path: Path) -> None:
        """Goes to the step that a state was written at. Raises UserError for another state."""
        state = read_tensors(path, "the state of a training")
        fits = all(
            f"value.{name}" in state and state[f"value.{name}"].shape == value.shape
            for name, value in self.parameters.items()
        )
        if not fits or state.get("step", torch.empty(0)).numel() != 1:
            raise UserError(f"the state of a training '{path}' does not fit; remove it and run again")
        self.step = int(state["step"])
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(state[f"value.{name}"].to(value))
                if f"step.{name}" in state:
                    moments: Any = {part: state[f"{part}.{name}"] for part in MOMENTS[:2]}
                    moments = {part: moment.view_as(value).to(value) for part, moment in moments.items()}
                    self.optimizer.state[value] = {**moments, "step": state[f"step.{name}"].reshape(())}


def fit(
    job: FitJob,
    model: TrainableModel,
    open_image: OpenImage,
    state: Path,
    on_step: Callable[[float], None] = lambda loss: None,
) -> bytes:
    """Trains, or resumes from the file `state`, which is removed at the end; returns the artefact."""
    training = Training.begin(job, model)
    if exists(state):
        training.read_state(state)
    written = time.monotonic()
    while training.step < job.recipe.steps:
        loss = training.advance(open_image)
        if time.monotonic() - written >= CHECKPOINT_SECONDS:
            training.write_state(state)
            written = time.monotonic()
        on_step(loss)
    if exists(state):
        remove(state)
    return training.artefact()
