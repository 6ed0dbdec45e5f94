"""InstructPix2Pix: edits of the source image by an instruction (arXiv 2211.09800).

The prompt is the instruction. The source image's latents are further channels of the UNet's input, and the
guidance has two scales: of the image, then of the instruction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image
from torch import Tensor

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.conditioning import RecentTensors, UNetConditioning
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.generation.backends.latent_space import AutoencoderLatentSpace
from dalda.generation.backends.pipeline_parts import load_parts, to_device
from dalda.generation.backends.schedulers import scheduler_of
from dalda.models.adaptation import embed_prompts
from dalda.types import Capability, GenerationRequest

IMAGE_GUIDANCE = 1.5
"""Of requests that name none: the published model's."""
BRANCHES = 3
"""Nothing; the image; the image and the instruction."""


@dataclass
class InstructPix2PixConditioner:
    """Instructions and source images, each encoded once."""

    pipeline: Any
    latent_space: AutoencoderLatentSpace

    def __post_init__(self) -> None:
        self.texts, self.images = RecentTensors(), RecentTensors()

    def encode(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> UNetConditioning:
        """Conditioning with 3n rows for n requests."""
        without = [self._text(request.negative_prompt) for request in requests]
        text = torch.cat([*without, *without, *(self._text(request.prompt) for request in requests)])
        latents = [self._image(x.source_sha256, image) for x, image in zip(requests, images, strict=True)]
        image = torch.cat([torch.zeros_like(torch.cat(latents)), *latents, *latents])
        scale = text.new_zeros(len(text), 1, 1)
        return UNetConditioning(text, (image,), scale, {}, BRANCHES)

    def _text(self, prompt: str) -> Tensor:
        tokenizer, encoder = self.pipeline.tokenizer, self.pipeline.text_encoder
        return self.texts.of(prompt, lambda: (embed_prompts(tokenizer, encoder, [prompt], [None]),))[0]

    def _image(self, key: str, image: Image.Image) -> Tensor:
        """The mode of the latents [1, channels, side, side], not scaled, as the model was trained."""
        return self.images.of(key, lambda: (self.latent_space.posterior(image).latent_dist.mode(),))[0]


@dataclass
class InstructPix2PixDenoiser:
    """A UNet that reads the source image's latents beside those of the image."""

    unet: Any

    def predict(self, latents: Tensor, timestep: Tensor, conditioning: UNetConditioning) -> Tensor:
        """Noise [rows, channels, side, side]."""
        (image,) = conditioning.images
        both = torch.cat([latents, image.to(latents)], 1)
        prediction: Tensor = self.unet(both, timestep, conditioning.text, return_dict=False)[0]
        return prediction


@dataclass
class InstructPix2PixGenerator(DiffusionGenerator):
    """Every request is an edit; one without an image guidance scale has the model's usual one."""

    @property
    def execution(self) -> Mapping[str, object]:
        """Device, dtype and the like."""
        return self.spec.execution

    def denoise(
        self,
        requests: Sequence[GenerationRequest],
        images: Sequence[Image.Image],
        masks: Sequence[Image.Image | None] = (),
        **more: Sequence[Any],
    ) -> Tensor:
        edits = [
            replace(x, image_guidance_scale=IMAGE_GUIDANCE) if x.image_guidance_scale is None else x
            for x in requests
        ]
        return super().denoise(edits, images)


def load_instruct_pix2pix(spec: GeneratorSpec) -> InstructPix2PixGenerator:
    """Loads the model. Raises UserError for a model that cannot be loaded."""
    without = ("safety_checker", "feature_extractor", "image_encoder")
    kind = StableDiffusionInstructPix2PixPipeline
    pipeline = load_parts(spec, kind, without=without)
    read, edited = pipeline.unet.config.in_channels, 2 * pipeline.vae.config.latent_channels
    if read != edited:
        raise UserError(
            f"the model '{spec.preset.model}' is no InstructPix2Pix model: its UNet reads {read} channels, "
            f"and an edit has {edited}; choose another with --model, such as timbrooks/instruct-pix2pix"
        )
    return assemble_instruct_pix2pix(pipeline, spec)


def assemble_instruct_pix2pix(pipeline: Any, spec: GeneratorSpec) -> InstructPix2PixGenerator:
    """A generator from a stock pipeline."""
    to_device(pipeline, spec)
    factor = pipeline.vae_scale_factor
    size = spec.preset.size or pipeline.unet.config.sample_size * factor
    channels = pipeline.vae.config.latent_channels
    latent_space = AutoencoderLatentSpace(pipeline.vae, size, channels, factor, spec.device)
    return InstructPix2PixGenerator(
        InstructPix2PixConditioner(pipeline, latent_space),
        InstructPix2PixDenoiser(pipeline.unet),
        latent_space,
        scheduler_of(spec.preset, pipeline.scheduler),
        size,
        frozenset({Capability.EDIT}),
        replace(spec, channels_last=False, compile=False),
    )
