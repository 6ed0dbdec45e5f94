"""A loaded Stable Diffusion model as something that concepts are learned with."""

import torch
from torch import Tensor

from dalda.errors import UserError
from dalda.generation.backends.conditioning import StableDiffusionConditioner, UNetConditioning
from dalda.generation.backends.diffusion import DiffusionGenerator
from dalda.models.adaptation import TrainableModel


def trainable_model(generator: object) -> TrainableModel:
    """The generator's parts, without an image prompt. Raises UserError for a model that learns none."""
    conditioner = getattr(generator, "conditioner", None)
    if (
        not isinstance(generator, DiffusionGenerator)
        or not isinstance(conditioner, StableDiffusionConditioner)
        or conditioner.concepts is None
    ):
        raise UserError("this model learns no concepts; choose a Stable Diffusion 1.x model with --model")
    if generator.compiled:
        raise UserError("a compiled model learns no concepts; leave --compile out")
    pipeline = conditioner.pipeline
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)

    def predict(latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        with torch.no_grad():
            without = [conditioner.without_image(one)[:, None] for one in range(conditioner.adapters)]
        images = tuple(image.expand(len(latents), *image.shape[1:]) for image in without)
        scale = torch.zeros(len(latents), 1, 1, device=latents.device, dtype=text.dtype)
        dtype = pipeline.unet.dtype
        conditioning = UNetConditioning(text.to(dtype), images, scale.to(dtype), {})
        return generator.denoiser.predict(latents.to(dtype), timesteps, conditioning)

    config = generator.scheduler.config
    return TrainableModel(
        pipeline.tokenizer,
        pipeline.text_encoder,
        conditioner.concepts.layers,
        predict,
        generator.latent_space.encode,
        generator.scheduler.alphas_cumprod,
        str(config.get("prediction_type", "epsilon")),
        generator.device,
    )
