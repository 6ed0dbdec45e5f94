"""FLUX.1 (dev, schnell) and Chroma with XLabs' IP-Adapter or InstantX'."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ChromaPipeline, FluxPipeline
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from PIL import Image
from torch import Tensor
from transformers import SiglipVisionModel

from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.flow import assemble_flow, dynamic_shift, even_sigmas
from dalda.generation.backends.flux_instantx import InstantXAttention
from dalda.generation.backends.image_prompts import merged_image_prompts
from dalda.generation.backends.rows import RowConditioning, set_scale
from dalda.generation.backends.transformer_adapter import add_to_flux, load_with_adapter
from dalda.types import Capability

PATCH = 2
"""Latents a side of each token."""


@dataclass
class FluxEncoders:
    """CLIP and T5 for the text (Chroma: T5 alone, with a mask), the image encoder of the adapter."""

    pipeline: Any
    device: str

    def text(self, prompt: str) -> dict[str, Tensor]:
        if isinstance(self.pipeline, ChromaPipeline):
            states, _, mask, *_ = self.pipeline.encode_prompt(
                prompt, device=self.device, do_classifier_free_guidance=False
            )
            return {"text": states, "mask": mask}
        states, pooled, _ = self.pipeline.encode_prompt(prompt, None, device=self.device)
        return {"text": states, "pooled": pooled}

    def image(self, image: Image.Image) -> Tensor:
        encoder = self.pipeline.image_encoder
        if isinstance(encoder, SiglipVisionModel):  # the pipeline knows CLIP alone
            pixels = self.pipeline.feature_extractor(image, return_tensors="pt").pixel_values
            features: Tensor = encoder(pixels.to(self.device, encoder.dtype)).pooler_output
        else:
            features = self.pipeline.encode_image(image, self.device, 1)
        return features[:, None]

    def no_image(self) -> Tensor:
        return self.image(Image.new("RGB", (64, 64)))


@dataclass
class FluxDenoiser:
    """A transformer over patches of latents, whose image attention takes a scale per row."""

    transformer: Any

    def __post_init__(self) -> None:
        processors = self.transformer.attn_processors.values()
        adapted = FluxIPAdapterAttnProcessor | InstantXAttention
        self.adapted = [one for one in processors if isinstance(one, adapted)]

    def predict(self, latents: Tensor, timestep: Tensor, rows: RowConditioning) -> Tensor:
        """Velocity [rows, channels, side, side]."""
        count, channels, side, _ = latents.shape
        text = rows.tensors["text"]
        more: dict[str, Any] = {}
        if self.adapted:
            set_scale(self.adapted, rows.tensors["scale"])
            more["joint_attention_kwargs"] = {"ip_adapter_image_embeds": [rows.tensors["image"]]}
        if "mask" in rows.tensors:
            mask = rows.tensors["mask"]
            image_mask = torch.ones(count, side * side // PATCH**2, device=mask.device, dtype=torch.bool)
            more["attention_mask"] = torch.cat([mask, image_mask], dim=1)
        else:
            more["pooled_projections"] = rows.tensors["pooled"]
        if self.transformer.config.get("guidance_embeds"):
            more["guidance"] = rows.tensors["guidance"].float()
        with merged_image_prompts(self.transformer, averaged=bool(self.adapted) and rows.averaged):
            velocity: Tensor = self.transformer(
                hidden_states=FluxPipeline._pack_latents(latents, count, channels, side, side),
                timestep=timestep.expand(count).to(latents.dtype) / 1000,
                encoder_hidden_states=text,
                txt_ids=torch.zeros(text.shape[1], 3, device=text.device, dtype=text.dtype),
                img_ids=FluxPipeline._prepare_latent_image_ids(
                    count, side // PATCH, side // PATCH, latents.device, latents.dtype
                ),
                return_dict=False,
                **more,
            )[0]
        unpacked: Tensor = FluxPipeline._unpack_latents(velocity, side, side, 1)
        return unpacked


def load_flux(spec: GeneratorSpec) -> DiffusionGenerator:
    """FLUX.1 dev or schnell. Raises UserError for a model that cannot be loaded."""
    return assemble_flux(load_with_adapter(FluxPipeline, spec, add_to_flux), spec)


def load_chroma(spec: GeneratorSpec) -> DiffusionGenerator:
    """Chroma. Raises UserError for a model that cannot be loaded."""
    return assemble_flux(load_with_adapter(ChromaPipeline, spec, add_to_flux), spec)


def assemble_flux(pipeline: Any, spec: GeneratorSpec) -> DiffusionGenerator:
    """A generator from a stock pipeline with or without an adapter.

    FLUX.1 has its guidance built in (dev: as an input, schnell: none); Chroma is guided by two predictions.
    """
    size = spec.preset.size or pipeline.default_sample_size * pipeline.vae_scale_factor
    tokens = (size // pipeline.vae_scale_factor // PATCH) ** 2
    shift = dynamic_shift(pipeline.scheduler, tokens, max_shift=1.15)
    return assemble_flow(
        pipeline,
        spec,
        FluxEncoders(pipeline, spec.device),
        FluxDenoiser(pipeline.transformer),
        size=size,
        patch=PATCH,
        channels=pipeline.transformer.config.in_channels // PATCH**2,
        timesteps=lambda steps: {"sigmas": even_sigmas(steps), **shift},
        guidance=isinstance(pipeline, ChromaPipeline),
        several=frozenset({Capability.SEVERAL_IMAGE_PROMPTS, Capability.AVERAGED_IMAGE_PROMPTS}),
    )
