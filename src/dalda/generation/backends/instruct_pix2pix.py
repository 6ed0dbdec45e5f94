"""InstructPix2Pix: edits of the source image by an instruction (arXiv 2211.09800).

The prompt is the instruction. The source image's latents are further channels of the UNet's input, and the
guidance has two scales: of the image, then of the instruction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
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
from dalda.generation.backends.stable_diffusion import DTYPES
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
    size: int
    device: str

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
        scale = torch.zeros(len(text), 1, 1, device=self.device, dtype=text.dtype)
        return UNetConditioning(text, (image,), scale, {}, BRANCHES)

    def _text(self, prompt: str) -> Tensor:
        found = self.texts.get(prompt)
        if found is None:
            found = (embed_prompts(self.pipeline.tokenizer, self.pipeline.text_encoder, [prompt], [None]),)
            self.texts.put(prompt, found)
        return found[0]

    def _image(self, key: str, image: Image.Image) -> Tensor:
        """The mode of the latents [1, channels, side, side], not scaled, as the model was trained."""
        found = self.images.get(key)
        if found is None:
            square = image.resize((self.size, self.size), Image.Resampling.LANCZOS)
            pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 127.5 - 1
            vae = self.pipeline.vae
            found = (vae.encode(pixels.to(self.device, vae.dtype)).latent_dist.mode(),)
            self.images.put(key, found)
        return found[0]


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
    pipeline = load_parts(spec.preset.model, kind, DTYPES[spec.dtype], without=without)
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

    def execution() -> Mapping[str, object]:
        return {"device": spec.device, "dtype": spec.dtype, "channels_last": False, "compile": False}

    return InstructPix2PixGenerator(
        InstructPix2PixConditioner(pipeline, size, spec.device),
        InstructPix2PixDenoiser(pipeline.unet),
        AutoencoderLatentSpace(
            pipeline.vae, size, pipeline.vae.config.latent_channels, factor, spec.device
        ),
        scheduler_of(spec.preset, pipeline.scheduler),
        size,
        frozenset({Capability.EDIT}),
        spec.fingerprint,
        execution,
        spec.device,
        spec.preset.guidance_interval,
    )
