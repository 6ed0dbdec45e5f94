"""From jobs to pictures: Stable Diffusion with an IP-Adapter, each image with its own lambda.

Our own denoising loop, since the stock pipeline holds one lambda for a batch and silently mixes the
references of a batch; everything it computes with is the stock model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models import AutoencoderKL
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil

from dalda.errors import UserError, first_line
from dalda.records import Job
from dalda.synthesis.attention import install
from dalda.synthesis.autoencoder import PatchAutoencoder
from dalda.synthesis.presets import Preset, located

CACHED = 4096
"""Embeddings kept at a time; one is a few hundred kilobytes at most."""


@dataclass
class Renderer:
    """A loaded model. `render` is a pure function of jobs and sources for a given batch size."""

    pipeline: Any
    size: int
    device: str
    texts: dict[str, Tensor] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def render(self, jobs: Sequence[Job], sources: Sequence[Image.Image]) -> list[Image.Image]:
        """One picture per job, each of the source's shape and at most of the model's size.

        All jobs of a batch share steps and guidance_scale; lambda, prompts and sources are their own.
        """
        (steps,) = {job.steps for job in jobs}
        (guidance_scale,) = {job.guidance_scale for job in jobs}
        text = torch.cat(
            [self._text(job.negative_prompt) for job in jobs] + [self._text(job.prompt) for job in jobs]
        )
        image = torch.cat([self._image(job, source) for job, source in zip(jobs, sources, strict=True)])
        image = torch.cat([torch.zeros_like(image), image])[:, None]
        scale = torch.tensor([job.ip_adapter_scale for job in jobs], device=self.device)
        scale = scale.to(text.dtype).repeat(2)[:, None, None]
        latents = torch.cat([self._noise(job) for job in jobs]).to(self.device, text.dtype)
        scheduler = self.pipeline.scheduler
        scheduler.set_timesteps(steps, device=self.device)
        latents = latents * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            doubled = scheduler.scale_model_input(torch.cat([latents, latents]), time)
            guess = self.pipeline.unet(
                doubled,
                time,
                text,
                added_cond_kwargs={"image_embeds": [image]},
                cross_attention_kwargs={"ip_adapter_scale": scale},
            ).sample
            without, guided = guess.chunk(2)
            guess = without + guidance_scale * (guided - without)
            latents = scheduler.step(guess, time, latents).prev_sample
        pictures = self._decode(latents)
        return [_shaped_like(source, picture) for source, picture in zip(sources, pictures, strict=True)]

    def _text(self, prompt: str) -> Tensor:
        """[1, 77, width], computed once per distinct prompt."""
        if prompt not in self.texts:
            _make_room(self.texts)
            tokens = self.pipeline.tokenizer(
                prompt, padding="max_length", truncation=True, return_tensors="pt"
            )
            self.texts[prompt] = self.pipeline.text_encoder(tokens.input_ids.to(self.device))[0]
        return self.texts[prompt]

    def _image(self, job: Job, source: Image.Image) -> Tensor:
        """[1, width], computed once per source; the source is squeezed to a square, as in the paper."""
        if job.source_sha256 not in self.images:
            _make_room(self.images)
            square = source.resize((self.size, self.size), Image.Resampling.BILINEAR)
            pixels = self.pipeline.feature_extractor(square, return_tensors="pt")["pixel_values"]
            encoder = self.pipeline.image_encoder
            embeds = encoder(pixel_values=pixels.to(self.device, encoder.dtype)).image_embeds
            self.images[job.source_sha256] = embeds
        return self.images[job.source_sha256]

    def _noise(self, job: Job) -> Tensor:
        """The job's own starting noise, drawn on the CPU so that it is the same on every device."""
        side = self.size // self.pipeline.vae_scale_factor
        shape = (1, self.pipeline.unet.config.in_channels, side, side)
        return torch.randn(shape, generator=torch.Generator().manual_seed(job.seed))

    def _decode(self, latents: Tensor) -> list[Image.Image]:
        vae = self.pipeline.vae
        pixels = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
        pixels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).cpu().numpy()]


def load_renderer(preset: Preset, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Renderer:
    """Loads the model and its adapter. Raises UserError for a model that is not to be had."""
    folder = located(preset.model)
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder,
            vae=_load_vae(preset, dtype),
            dtype=dtype,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
            local_files_only=Path(folder).is_dir(),
        )
        encoder_folder = preset.image_encoder.removeprefix(preset.adapter_folder + "/")
        pipeline.feature_extractor = CLIPImageProcessorPil()
        pipeline.load_ip_adapter(
            located(preset.adapter),
            subfolder=preset.adapter_folder,
            weight_name=preset.adapter_file,
            image_encoder_folder=encoder_folder,
        )
    except UserError:
        raise
    except Exception as error:  # the loaders raise whatever a strange folder makes them stumble over
        raise UserError(
            f"the model '{preset.model}' with the adapter '{preset.adapter}' cannot be loaded "
            f"({first_line(error)}); download it or name local folders with --model and --adapter"
        ) from error
    (projection,) = pipeline.unet.encoder_hid_proj.image_projection_layers
    if not isinstance(projection, ImageProjection):
        raise UserError(
            f"the adapter '{preset.adapter_file}' reads patches of its image, not one embedding; "
            "choose a plain IP-Adapter such as ip-adapter_sd15.bin"
        )
    side = pipeline.image_encoder.config.image_size
    pipeline.feature_extractor = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    # Many models come with an ancestral scheduler, which draws from a global generator at every step.
    pipeline.scheduler = (
        DDIMScheduler.from_config(pipeline.scheduler.config)
        if preset.scheduler is None
        else DDIMScheduler(**preset.scheduler)
    )
    pipeline.to(device)
    install(pipeline.unet)
    size = preset.size or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    return Renderer(pipeline, size, device)


def _load_vae(preset: Preset, dtype: torch.dtype) -> Any:
    """The preset's own autoencoder, or the model's, of whichever kind its settings name."""
    folder, place = (
        (located(preset.vae), {}) if preset.vae else (located(preset.model), {"subfolder": "vae"})
    )
    kinds = {kind.__name__: kind for kind in (AutoencoderKL, PatchAutoencoder)}
    named = AutoencoderKL.load_config(folder, **place).get("_class_name")
    if named not in kinds:
        raise UserError(f"the autoencoder of '{folder}' is a {named}; one of {', '.join(kinds)} is needed")
    return kinds[named].from_pretrained(folder, dtype=dtype, **place)


def _make_room(cache: dict[str, Tensor]) -> None:
    """Forgets the oldest entry once the cache is full."""
    if len(cache) >= CACHED:
        del cache[next(iter(cache))]


def _shaped_like(source: Image.Image, picture: Image.Image) -> Image.Image:
    """The picture with the source's sides, shrunk to at most the model's size; never enlarged."""
    if source.size == picture.size:
        return picture
    ratio = min(1.0, picture.width / max(source.size))
    sides = (max(1, round(source.width * ratio)), max(1, round(source.height * ratio)))
    return picture.resize(sides, Image.Resampling.BILINEAR)
