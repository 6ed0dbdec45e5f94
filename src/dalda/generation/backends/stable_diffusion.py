"""From requests to images: Stable Diffusion with an IP-Adapter, each image with its own lambda.

Our own denoising loop, since the stock pipeline holds one lambda for a batch and silently mixes the
references of a batch; everything it computes with is the stock model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from dalda.device import is_out_of_memory
from dalda.errors import UserError, first_line
from dalda.generation.backends.attention import install
from dalda.generation.backends.conditioning import Conditioner, Conditioning
from dalda.generation.backends.loader import load_pipeline
from dalda.generation.backends.schedulers import draws_noise, guided_steps, scheduler_of
from dalda.models.presets import Preset
from dalda.progress import say
from dalda.types import GenerationRequest

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DECODED = 4 * 512 * 512
"""Pixels that the autoencoder makes at a time: its memory, not the UNet's, would set the batch size."""
GRAPHS = 64
"""Compiled variants of a block at most: one for each resolution, with and without guidance."""
Item = TypeVar("Item")


@dataclass
class Renderer:
    """A loaded model. `render` is a pure function of requests and sources for a given batch size."""

    pipeline: Any
    preset: Preset
    size: int
    """Width and height of its images in pixels."""
    device: str
    dtype: str = "fp32"
    channels_last: bool = False
    compiled: bool = False
    encoder: Conditioner = field(init=False)
    decoded: int = field(init=False)
    """Images that are decoded at a time."""
    padded_to: int = field(default=0, init=False)
    """The batch size that compiled blocks are made for; smaller batches are filled up to it."""

    def __post_init__(self) -> None:
        self.encoder = Conditioner(self.pipeline, self.size, self.device)
        self.decoded = max(1, DECODED // self.size**2)

    @property
    def made_with(self) -> dict[str, Any]:
        """What decides a image beside its request, as each image's metadata records it."""
        chosen = self.preset
        return {
            "scheduler": chosen.scheduler,
            "guidance_interval": list(chosen.guidance_interval),
            "adapter": f"{chosen.adapter}:{chosen.adapter_file}",
            "vae": chosen.vae,
            "lora": chosen.lora,
            "device": self.device,
            "dtype": self.dtype,
            "channels_last": self.channels_last,
            "compiled": self.compiled,
            "tiled": bool(getattr(self.pipeline.vae, "use_tiling", False)),
        }

    @torch.no_grad()
    def render(
        self, requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        """One image per request, each of the source's shape and at most of the model's size.

        All requests of a batch share steps and guidance_scale; lambda, prompts and sources are their own.
        A image whose values are not numbers is None.
        """
        try:
            latents = self._denoised(self._filled(requests), self._filled(sources))
            images = self._decode(latents[: len(requests)])
        except Exception:
            # Memory may have run out: the next batches are then smaller, and must be allowed to be.
            self.padded_to = 0
            raise
        return [_shaped_like(source, image) for source, image in zip(sources, images, strict=True)]

    def _filled(self, items: Sequence[Item]) -> Sequence[Item]:
        """For compiled blocks, of one shape each: the batch with its last item again and again."""
        if not self.compiled:
            return items
        self.padded_to = max(self.padded_to, len(items))
        return [*items, *[items[-1]] * (self.padded_to - len(items))]

    def _denoised(self, requests: Sequence[GenerationRequest], sources: Sequence[Image.Image]) -> Tensor:
        """The last latents [requests, channels, side, side]."""
        (steps,) = {request.steps for request in requests}
        (guidance_scale,) = {request.guidance_scale for request in requests}
        conditions = self.encoder.conditions(requests, sources)
        asked = conditions.asked()
        scheduler = self.pipeline.scheduler
        scheduler.set_timesteps(steps, device=self.device)
        # Each request's own noise, drawn on the CPU so that it is the same on every device.
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        side = self.size // self.pipeline.vae_scale_factor
        shape = (1, self.pipeline.unet.config.in_channels, side, side)
        noise = torch.cat([torch.randn(shape, generator=one) for one in generators])
        latents: Tensor = noise.to(self.device, conditions.text.dtype) * scheduler.init_noise_sigma
        drawn = {"generator": generators} if draws_noise(scheduler) else {}
        # As in diffusers, a scale of 1 or less is no guidance.
        interval = self.preset.guidance_interval
        guided = guided_steps(interval, len(scheduler.timesteps)) if guidance_scale > 1 else range(0)
        for index, time in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(latents, time)
            if index in guided:
                without, guess = self._guess(torch.cat([scaled, scaled]), time, conditions).chunk(2)
                guess = without + guidance_scale * (guess - without)
            else:
                guess = self._guess(scaled, time, asked)
            latents = scheduler.step(guess, time, latents, return_dict=False, **drawn)[0]
        return latents

    def _guess(self, latents: Tensor, time: Tensor, told: Conditioning) -> Tensor:
        guess: Tensor
        try:
            guess = self.pipeline.unet(
                latents,
                time,
                told.text,
                added_cond_kwargs={"image_embeds": [told.image], **told.added},
                cross_attention_kwargs={"ip_adapter_scale": told.scale},
                return_dict=False,
            )[0]
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = first_line(getattr(error, "inner_exception", error))
            raise UserError(
                f"this machine cannot compile the model ({reason}); leave --compile out"
            ) from error
        return guess

    def _decode(self, latents: Tensor) -> list[Image.Image | None]:
        """Decodes as many at a time as memory allows, and where one is too much, in tiles."""
        images: list[Image.Image | None] = []
        try:
            for start in range(0, len(latents), self.decoded):
                images += self._decoded(latents[start : start + self.decoded])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._decode_less()
            return self._decode(latents)
        return images

    def _decoded(self, latents: Tensor) -> list[Image.Image | None]:
        vae = self.pipeline.vae
        shown = vae.decode(self._unscaled(latents).to(vae.dtype), return_dict=False)[0]
        numbers = shown.isfinite().all(dim=3).all(dim=2).all(dim=1).tolist()
        shown = ((shown.float().nan_to_num(0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        arrays = shown.permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(one) if well else None for one, well in zip(arrays, numbers, strict=True)]

    def _unscaled(self, latents: Tensor) -> Tensor:
        """Latents as the autoencoder makes them; some name a mean and a deviation of each channel."""
        settings = self.pipeline.vae.config
        unscaled: Tensor = latents / settings.scaling_factor
        told = settings.get("latents_mean"), settings.get("latents_std")
        if None in told:
            return unscaled
        mean, deviation = (torch.tensor(one).to(latents)[None, :, None, None] for one in told)
        return unscaled * deviation + mean

    def _decode_less(self) -> None:
        """Meant for an except clause: passes the error on when nothing is left to save."""
        vae = self.pipeline.vae
        if self.decoded > 1:
            self.decoded = 1
            say("note: the memory is short, images are decoded one by one")
        elif hasattr(vae, "enable_tiling") and not vae.use_tiling:
            vae.enable_tiling()
            # Diffusers' own tiles are as large as the images that the model is made for. A quarter of
            # a tile overlaps the next one, and must be whole.
            factor = self.pipeline.vae_scale_factor
            vae.tile_latent_min_size = max(4, self.size // factor // 2 // 4 * 4)
            vae.tile_sample_min_size = vae.tile_latent_min_size * factor
            say("note: the memory is short, images are decoded in tiles")
        else:
            raise


def load_renderer(
    preset: Preset,
    *,
    device: str = "cpu",
    dtype: str = "fp32",
    channels_last: bool = False,
    compiled: bool = False,
) -> Renderer:
    """Loads the model and its adapter. Raises UserError for a model that cannot be loaded."""
    pipeline = load_pipeline(preset, DTYPES[dtype])
    return renderer_of(
        pipeline, preset, device=device, dtype=dtype, channels_last=channels_last, compiled=compiled
    )


def renderer_of(
    pipeline: Any, preset: Preset, *, device: str, dtype: str, channels_last: bool, compiled: bool
) -> Renderer:
    """Makes a stock pipeline of that dtype, with its adapter loaded, ready to render.

    Raises UserError where the device has no room for it.
    """
    pipeline.scheduler = scheduler_of(preset, pipeline.scheduler)
    try:
        pipeline.to(device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"the model '{preset.model}' does not fit into the memory of '{device}'; free some, choose "
            "--dtype fp16, a smaller --model or another --device"
        ) from error
    install(pipeline.unet)
    if channels_last:
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if compiled:
        torch._dynamo.config.recompile_limit = max(GRAPHS, torch._dynamo.config.recompile_limit)
        pipeline.unet.compile_repeated_blocks(dynamic=False)
    size = preset.size or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    return Renderer(pipeline, preset, size, device, dtype, channels_last, compiled)


def _shaped_like(source: Image.Image, image: Image.Image | None) -> Image.Image | None:
    """The image with the source's sides, shrunk to at most the model's size; never enlarged."""
    if image is None or source.size == image.size:
        return image
    ratio = min(1.0, image.width / max(source.size))
    sides = (max(1, round(source.width * ratio)), max(1, round(source.height * ratio)))
    return image.resize(sides, Image.Resampling.BILINEAR)
