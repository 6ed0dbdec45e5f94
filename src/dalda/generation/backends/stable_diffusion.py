"""Stable Diffusion 1.x, XL and Kolors with an IP-Adapter, each image with its own scale and strength."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dalda.generation.backends.attention import install
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.conditioning import StableDiffusionConditioner, UNetConditioning
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.image_prompts import merged_image_prompts
from dalda.generation.backends.latent_space import AutoencoderLatentSpace
from dalda.generation.backends.loader import load_pipeline
from dalda.generation.backends.pipeline_parts import DTYPES, to_device
from dalda.generation.backends.schedulers import scheduler_of
from dalda.models.adaptation import AppliedLora, ConceptReader, LoraLayers
from dalda.types import Capability

MAX_GRAPHS = 64
"""Compiled variants of a block at most: one for each resolution, with and without guidance."""


@dataclass
class UNetDenoiser:
    """A UNet whose cross-attention takes an IP-Adapter scale per row."""

    unet: Any
    concepts: ConceptReader | None = None

    def predict(self, latents: Tensor, timestep: Tensor, conditioning: UNetConditioning) -> Tensor:
        """Noise [rows, channels, side, side] in the latents."""
        averaged = merged_image_prompts(self.unet, averaged=conditioning.averaged)
        with self._loras(conditioning, len(latents)), averaged:
            prediction: Tensor = self.unet(
                latents,
                timestep,
                conditioning.text,
                added_cond_kwargs={"image_embeds": [*conditioning.images], **conditioning.added},
                cross_attention_kwargs={"ip_adapter_scale": conditioning.scale},
                return_dict=False,
            )[0]
        return prediction

    def _loras(self, conditioning: UNetConditioning, rows: int) -> AbstractContextManager[None]:
        """Each image's LoRAs in its rows of every branch."""
        if self.concepts is None or not conditioning.loras:
            return nullcontext()
        count = len(conditioning.loras)
        active: list[AppliedLora] = []
        for concept in dict.fromkeys(conditioning.loras):
            images = [place for place, other in enumerate(conditioning.loras) if other == concept]
            chosen = [start + place for start in range(0, rows, count) for place in images]
            where = torch.tensor(chosen, device=self.unet.device)
            active += [(where, tensors, share) for _, tensors, share in self.concepts.loras(concept)]
        return self.concepts.layers.applied(active)


def load_stable_diffusion(spec: GeneratorSpec) -> DiffusionGenerator:
    """Loads the model and its adapter. Raises UserError for a model that cannot be loaded."""
    return assemble(load_pipeline(spec.preset, DTYPES[spec.dtype]), spec)


def assemble(pipeline: Any, spec: GeneratorSpec) -> DiffusionGenerator:
    """A generator from a stock pipeline of that dtype with its adapter loaded.

    Raises UserError if the model does not fit into the device's memory.
    """
    preset = spec.preset
    to_device(pipeline, spec)
    adapters = [1.0] if preset.second_adapter is None else [1.0, preset.second_adapter_scale]
    install(pipeline.unet, by_block=preset.adapter_blocks is not None, adapters=adapters)
    if spec.channels_last:
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if spec.compile:
        torch._dynamo.config.recompile_limit = max(MAX_GRAPHS, torch._dynamo.config.recompile_limit)
        pipeline.unet.compile_repeated_blocks(dynamic=False)
    factor = pipeline.vae_scale_factor
    size = preset.size or pipeline.unet.config.sample_size * factor
    capabilities = {
        Capability.IMAGE_PROMPT,
        Capability.INIT_IMAGE,
        Capability.SECOND_IMAGE_PROMPT,
        Capability.SEVERAL_IMAGE_PROMPTS,
        Capability.AVERAGED_IMAGE_PROMPTS,
        Capability.INPAINTING,
    }
    concepts = None
    if type(pipeline).__name__ == "StableDiffusionPipeline":
        concepts = ConceptReader(LoraLayers.of(pipeline.unet, pipeline.text_encoder), spec.device)
        capabilities.add(Capability.CONCEPTS)
    return DiffusionGenerator(
        StableDiffusionConditioner(pipeline, size, spec.device, concepts=concepts),
        UNetDenoiser(pipeline.unet, concepts),
        AutoencoderLatentSpace(pipeline.vae, size, pipeline.unet.config.in_channels, factor, spec.device),
        scheduler_of(preset, pipeline.scheduler),
        size,
        frozenset(capabilities),
        spec,
    )
