"""How a learned concept enters Stable Diffusion: token embeddings in prompts, LoRA beside weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from dalda.errors import UserError
from dalda.models.concepts import PLACEHOLDER, Concept
from dalda.models.weights import read_tensors, refuse_difference
from dalda.seeding import seed_of

UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
A, B = ".lora_A.weight", ".lora_B.weight"
"""Names of LoRA tensors as diffusers and peft write them: the file is a LoRA for others, too."""
Tensors = Mapping[str, Tensor]
AppliedLora = tuple[Tensor | None, Tensors, float]
"""Rows of the batch (None is all), tensors, share."""


def embed_prompts(
    tokenizer: Any, text_encoder: Any, prompts: Sequence[str], tokens: Sequence[Tensor | None]
) -> Tensor:
    """States of prompts [n, length, width]; PLACEHOLDER becomes the prompt's token [vectors, width]."""
    read = [
        _token_ids(tokenizer, prompt, 0 if token is None else len(token))
        for prompt, token in zip(prompts, tokens, strict=True)
    ]
    ids = torch.tensor([row for row, _ in read], device=text_encoder.device)
    places = [at for _, at in read]

    def replace(module: nn.Module, inputs: Any, embedded: Tensor) -> Tensor:
        embedded = embedded.clone()
        for row, (at, token) in enumerate(zip(places, tokens, strict=True)):
            for start, count in at:
                if token is not None:
                    embedded[row, start : start + count] = token[:count].to(embedded)
        return embedded

    hook = text_encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        states: Tensor = text_encoder(ids, attention_mask=None)[0]
    finally:
        hook.remove()
    return states


def _token_ids(tokenizer: Any, prompt: str, vectors: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids of a padded prompt, and where (start, count) its placeholders are."""
    length, ids, places = tokenizer.model_max_length, [tokenizer.bos_token_id], []
    parts = prompt.split(PLACEHOLDER) if vectors else [prompt]
    for number, part in enumerate(parts):
        if number:
            places.append((len(ids), vectors))
            ids += [tokenizer.bos_token_id] * vectors
        ids += tokenizer(part, add_special_tokens=False).input_ids
    ids = [*ids[: length - 1], tokenizer.eos_token_id]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    cut = [(start, min(count, length - 1 - start)) for start, count in places if start < length - 1]
    return ids + [pad] * (length - len(ids)), cut


@dataclass
class LoraLayers:
    """Linear layers that add LoRAs (arXiv 2106.09685) to their outputs, row by row of a batch."""

    layers: dict[str, nn.Linear]
    """By the layer's name, as LoRA tensors have it."""
    active: list[AppliedLora] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, layer in self.layers.items():
            layer.register_forward_hook(self._adder(name))

    @classmethod
    def of(cls, unet: nn.Module, text_encoder: nn.Module) -> "LoraLayers":
        """The attention layers of both."""
        parts = (("unet", unet, UNET_LAYERS), ("text_encoder", text_encoder, TEXT_LAYERS))
        return cls(
            {
                f"{part}.{name}": layer
                for part, model, suffixes in parts
                for name, layer in model.named_modules()
                if isinstance(layer, nn.Linear)
                and f".{name}".endswith(tuple(f".{end}" for end in suffixes))
            }
        )

    def check(self, tensors: Tensors, where: str) -> None:
        """Raises UserError unless these are tokens, and LoRAs of every layer, or of every UNet layer."""
        loras = {name: value for name, value in tensors.items() if not name.startswith("token.")}
        in_text = any(name.startswith("text_encoder.") for name in loras)
        layers = {x: layer for x, layer in self.layers.items() if in_text or x.startswith("unet.")}
        refuse_difference(
            loras, [name + part for name in layers for part in (A, B)] if loras else [], where
        )
        for name, layer in layers.items() if loras else ():
            down, up = loras[name + A], loras[name + B]
            if down.shape[1:] != (layer.in_features,) or up.shape != (layer.out_features, len(down)):
                raise UserError(f"{where} has tensors of the wrong shape ({name}); remove it and run again")

    def _adder(self, name: str) -> Callable[..., Tensor]:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            for rows, tensors, share in self.active:
                if name + A not in tensors:  # it is for the UNet alone, or for tokens
                    continue
                down, up = tensors[name + A], tensors[name + B]
                states = inputs[0] if rows is None else inputs[0][rows]
                added = ((states @ down.to(states).T) @ up.to(states).T) * share
                output = output + added if rows is None else output.index_add(0, rows, added.to(output))
            return output

        return add

    @contextmanager
    def applied(self, active: list[AppliedLora]) -> Iterator[None]:
        """Within the block, the layers add these LoRAs."""
        before, self.active = self.active, active
        try:
            yield
        finally:
            self.active = before


@dataclass
class ConceptReader:
    """Artefacts in a folder, read when they are first needed."""

    layers: LoraLayers
    device: str
    folder: Path = Path()
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def read(self, artefact: str) -> dict[str, Tensor]:
        """An artefact's tensors. Raises UserError where it is not there, or no file of weights."""
        if artefact not in self.tensors:
            path = self.folder / f"{artefact}.safetensors"
            if not path.is_file():
                raise UserError(f"the learned concept '{path}' is missing; run dalda augment again")
            found = read_tensors(path, "the learned concept")
            self.layers.check(found, f"the learned concept in '{path}'")
            self.tensors[artefact] = {name: value.to(self.device) for name, value in found.items()}
        return self.tensors[artefact]

    def token(self, concept: Concept) -> Tensor | None:
        """The token's embedding [vectors, width]. Raises UserError for a class without its token."""
        token = concept.token
        if token is None:
            return None
        found = self.read(token.artefact).get(f"token.{token.number}")
        if found is None:
            raise UserError(
                f"the learned concept '{token.artefact}' has no token for class {token.number}; remove it "
                "from the folder 'concepts' and run dalda augment again"
            )
        if not token.noise:
            return found
        generator = torch.Generator().manual_seed(seed_of(token.noise_seed, "token", token.artefact))
        return found + token.noise * torch.randn(found.shape, generator=generator).to(found)

    def loras(self, concept: Concept) -> list[AppliedLora]:
        """For all rows of a batch."""
        return [(None, self.read(artefact), share) for artefact, share in concept.loras if share]


@dataclass(frozen=True)
class TrainableModel:
    """What concepts are learned with: the parts of a diffusion model, which stay as they are."""

    tokenizer: Any
    text_encoder: Any
    layers: LoraLayers
    predict: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Latents, timesteps [n] and text states -> prediction, with gradients."""
    encode_image: Callable[[str, Image.Image, torch.Generator], Tensor]
    """Key, image and noise -> latents [1, ...]."""
    alphas_cumprod: Tensor
    prediction_type: str
    device: str
