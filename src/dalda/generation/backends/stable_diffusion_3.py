"""Stable Diffusion 3 and 3.5 with an IP-Adapter (arXiv 2403.03206; InstantX' adapter for 3.5 large)."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from PIL import Image
from torch import Tensor

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.flow import assemble_flow, dynamic_shift
from dalda.generation.backends.rows import RowConditioning, set_scale
from dalda.generation.backends.transformer_adapter import add_to_sd3, load_with_adapter


@dataclass
class StableDiffusion3Encoders:
    """Two CLIP text encoders, T5 (which may be left out), and the adapter's SigLIP image encoder."""

    pipeline: Any
    device: str

    def text(self, prompt: str) -> dict[str, Tensor]:
        states, _, pooled, _ = self.pipeline.encode_prompt(
            prompt, None, None, device=self.device, do_classifier_free_guidance=False
        )
        return {"text": states, "pooled": pooled}

    def image(self, image: Image.Image) -> Tensor:
        features: Tensor = self.pipeline.encode_image(image, self.device)
        return features

    def no_image(self) -> Tensor:
        side = self.pipeline.image_encoder.config.image_size
        return torch.zeros_like(self.image(Image.new("RGB", (side, side))))


@dataclass
class StableDiffusion3Denoiser:
    """A transformer whose image attention takes a scale per row."""

    transformer: Any

    def __post_init__(self) -> None:
        processors = self.transformer.attn_processors.values()
        self.adapted = [one for one in processors if isinstance(one, SD3IPAdapterJointAttnProcessor2_0)]

    def predict(self, latents: Tensor, timestep: Tensor, rows: RowConditioning) -> Tensor:
        """Velocity [rows, channels, side, side]."""
        more = {}
        if self.adapted:
            set_scale(self.adapted, rows.tensors["scale"])
            more["joint_attention_kwargs"] = {"ip_adapter_image_embeds": rows.tensors["image"]}
        velocity: Tensor = self.transformer(
            hidden_states=latents,
            timestep=timestep.expand(len(latents)),
            encoder_hidden_states=rows.tensors["text"],
            pooled_projections=rows.tensors["pooled"],
            return_dict=False,
            **more,
        )[0]
        return velocity


def load_stable_diffusion_3(spec: GeneratorSpec) -> DiffusionGenerator:
    """Loads the model and its adapter. Raises UserError for a model that cannot be loaded."""
    return assemble_sd3(load_with_adapter(StableDiffusion3Pipeline, spec, add_to_sd3), spec)


def assemble_sd3(pipeline: Any, spec: GeneratorSpec) -> DiffusionGenerator:
    """A generator from a stock pipeline with or without an adapter."""
    config = pipeline.transformer.config
    size = spec.preset.size or config.sample_size * pipeline.vae_scale_factor
    largest = config.pos_embed_max_size * config.patch_size * pipeline.vae_scale_factor
    if size > largest:
        raise UserError(
            f"the model '{spec.preset.model}' makes images of at most {largest} pixels, not of {size}; "
            "choose fewer with --model-option size=..."
        )
    tokens = (size // pipeline.vae_scale_factor // config.patch_size) ** 2
    shift = dynamic_shift(pipeline.scheduler, tokens, max_shift=1.16)
    return assemble_flow(
        pipeline,
        spec,
        StableDiffusion3Encoders(pipeline, spec.device),
        StableDiffusion3Denoiser(pipeline.transformer),
        size=size,
        patch=config.patch_size,
        channels=config.in_channels,
        timesteps=lambda steps: shift,
    )
