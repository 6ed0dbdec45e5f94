"""FLUX.2 klein: a reference per image, packed into its own row, and image guidance as the scale.

The stock pipeline gives one set of references to a whole batch and has no scale. Here each row has the
tokens of its own reference, and its velocity is v0 + scale (v_reference - v0), as in classifier-free
guidance over the image: a scale of 0 is the text alone, 1 the stock pipeline's way with a reference.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image
from torch import Tensor

from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.flow import assemble_flow, even_sigmas
from dalda.generation.backends.latent_space import AutoencoderLatentSpace
from dalda.generation.backends.pipeline_parts import load_parts
from dalda.generation.backends.rows import RowConditioning
from dalda.types import Capability

PATCH = 2
"""Latents a side of each token."""


@dataclass
class KleinLatentSpace(AutoencoderLatentSpace):
    """Latents in patches, normalised by the statistics that the autoencoder was trained with."""

    def _scaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        scaled: Tensor = (Flux2KleinPipeline._patchify_latents(latents) - mean) / deviation
        return scaled

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        unscaled: Tensor = Flux2KleinPipeline._unpatchify_latents(latents * deviation + mean)
        return unscaled

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        norm = self.vae.bn
        variance = norm.running_var.view(1, -1, 1, 1) + self.vae.config.batch_norm_eps
        return norm.running_mean.view(1, -1, 1, 1).to(latents), variance.sqrt().to(latents)

    def reference(self, image: Image.Image) -> Tensor:
        """The tokens [1, tokens, channels] of a reference of the model's size."""
        latents = self._scaled(self.posterior(image).latent_dist.mode())
        tokens: Tensor = Flux2KleinPipeline._pack_latents(latents)
        return tokens


@dataclass
class KleinEncoders:
    """A language model for the text, the autoencoder for the references."""

    pipeline: Any
    latent_space: KleinLatentSpace
    device: str

    def text(self, prompt: str) -> dict[str, Tensor]:
        states, places = self.pipeline.encode_prompt(prompt, device=self.device)
        return {"text": states, "text_ids": places}

    def image(self, image: Image.Image) -> Tensor:
        return self.latent_space.reference(image)

    def no_image(self) -> Tensor:
        channels, side, _ = self.latent_space.shape
        return torch.zeros(1, side * side, channels, device=self.device, dtype=self.pipeline.vae.dtype)


@dataclass
class KleinDenoiser:
    """A transformer that is asked with and without the reference, as far as a row's scale needs it."""

    transformer: Any

    def predict(self, latents: Tensor, timestep: Tensor, rows: RowConditioning) -> Tensor:
        """Velocity [rows, channels, side, side]."""
        scale = rows.tensors["scale"]
        tokens = Flux2KleinPipeline._pack_latents(latents)
        ids = Flux2KleinPipeline._prepare_latent_ids(latents).to(latents.device)
        velocity = torch.zeros_like(tokens)
        without, with_reference = (scale != 1).nonzero()[:, 0], (scale != 0).nonzero()[:, 0]
        if len(without):
            velocity[without] = self._velocity(tokens[without], ids[without], timestep, rows, without)
        if len(with_reference):
            reference = rows.tensors["image"][with_reference].to(tokens.dtype)
            images = reference.shape[1] // tokens.shape[1]
            places = Flux2KleinPipeline._prepare_image_ids([latents[:1]] * images).to(latents.device)
            places = places.expand(len(with_reference), -1, -1)
            found = self._velocity(
                torch.cat([tokens[with_reference], reference], dim=1),
                torch.cat([ids[with_reference], places], dim=1),
                timestep,
                rows,
                with_reference,
            )[:, : tokens.shape[1]]
            base = velocity[with_reference]
            weight = scale[with_reference][:, None, None]
            velocity[with_reference] = torch.where(weight == 1, found, base + weight * (found - base))
        _, channels, side, _ = latents.shape
        return velocity.transpose(1, 2).reshape(len(latents), channels, side, side)

    def _velocity(
        self, tokens: Tensor, ids: Tensor, timestep: Tensor, rows: RowConditioning, chosen: Tensor
    ) -> Tensor:
        velocity: Tensor = self.transformer(
            hidden_states=tokens.to(self.transformer.dtype),
            timestep=timestep.expand(len(tokens)).to(tokens.dtype) / 1000,
            guidance=None,
            encoder_hidden_states=rows.tensors["text"][chosen],
            txt_ids=rows.tensors["text_ids"][chosen],
            img_ids=ids,
            return_dict=False,
        )[0]
        return velocity


def load_klein(spec: GeneratorSpec) -> DiffusionGenerator:
    """Loads the model. Raises UserError for a model that cannot be loaded."""
    return assemble_klein(load_parts(spec, Flux2KleinPipeline), spec)


def assemble_klein(pipeline: Any, spec: GeneratorSpec) -> DiffusionGenerator:
    """A generator from a stock pipeline; distilled ones are not guided by a negative prompt."""
    size = spec.preset.size or pipeline.default_sample_size * pipeline.vae_scale_factor
    channels, factor = pipeline.transformer.config.in_channels, PATCH * pipeline.vae_scale_factor
    latent_space = KleinLatentSpace(pipeline.vae, size, channels, factor, spec.device)
    tokens = (size // factor) ** 2
    return assemble_flow(
        pipeline,
        spec,
        KleinEncoders(pipeline, latent_space, spec.device),
        KleinDenoiser(pipeline.transformer),
        size=size,
        patch=PATCH,
        channels=channels,
        timesteps=lambda steps: {
            "sigmas": even_sigmas(steps),
            "mu": compute_empirical_mu(image_seq_len=tokens, num_steps=steps),
        },
        guidance=not pipeline.config.is_distilled,
        latent_space=latent_space,
        references=True,
        several=frozenset({Capability.SEVERAL_IMAGE_PROMPTS}),
    )
