"""The denoising loop of latent diffusion: noise, or a noisy source image, becomes latents of an image.

Our own loop, since stock pipelines hold one IP-Adapter scale and one strength for a batch, and mix the
references of a batch; everything it computes with is the stock model. Stock diffusers' results, image by
image, are its tests.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from dalda.errors import UserError, first_line
from dalda.generation.backends.base import Conditioner, Denoiser, GeneratorSpec, LatentSpace
from dalda.generation.backends.guidance import guidance_scales, guide
from dalda.generation.backends.inpainting import KeptRegions, latent_mask
from dalda.generation.backends.schedulers import (
    Timesteps,
    draws_noise,
    first_latents,
    first_step,
    guided_steps,
    is_flow,
    model_input,
)
from dalda.generation.batching import probed_batch_size
from dalda.types import Capability, GenerationRequest

Item = TypeVar("Item")


@dataclass
class DiffusionGenerator:
    """An `ImageGenerator` made of a conditioner, a denoiser, a latent space and a scheduler."""

    conditioner: Conditioner
    denoiser: Denoiser
    latent_space: LatentSpace
    scheduler: Any
    image_size: int
    capabilities: frozenset[Capability]
    spec: GeneratorSpec
    guidance: bool = True
    """Whether classifier-free guidance is by two predictions; False where it is built into the model."""
    timesteps: Callable[[int], Timesteps] = lambda steps: {}
    """What the model family adds to its scheduler's `set_timesteps`, by the number of steps."""
    padded_to: int = field(default=0, init=False)
    """Batch size that compiled blocks are made for; smaller batches are filled up to it."""

    def __post_init__(self) -> None:
        self.fingerprint, self.device = self.spec.fingerprint, self.spec.device
        self.guidance_interval, self.compiled = self.spec.preset.guidance_interval, self.spec.compile

    @property
    def execution(self) -> Mapping[str, object]:
        """Device, dtype and the like, as they are now."""
        return {**self.spec.execution, "tiled": self.latent_space.is_tiled}

    def choose_batch_size(self, request: GenerationRequest, image: Image.Image) -> int:
        """From the image size, on a GPU from its free memory."""
        return probed_batch_size(self, request, image)

    def expect_batches_of(self, size: int) -> None:
        """A short last batch has the same shape, whether or not others were generated before it."""
        self.padded_to = size

    @torch.no_grad()
    def generate(
        self,
        requests: Sequence[GenerationRequest],
        images: Sequence[Image.Image],
        second_images: Sequence[Image.Image] = (),
        more_images: Sequence[Sequence[Image.Image]] = (),
        masks: Sequence[Image.Image | None] = (),
    ) -> list[Image.Image | None]:
        """One image per request, with the aspect ratio of its source and the size that the request says.

        All requests of a batch share steps and guidance scale; IP-Adapter scale, strength, prompts, masks
        and source images are their own. An image whose values are not numbers is None.
        """
        try:
            prompts: dict[str, Sequence[Any]] = {
                "second_images": second_images,
                "more_images": more_images,
                "masks": masks,
            }
            more = {name: self._filled(items) for name, items in prompts.items() if items}
            latents = self.denoise(self._filled(requests), self._filled(images), **more)
            generated = self.latent_space.decode(latents[: len(requests)])
        except Exception as error:
            # Memory may have run out: the next batches are then smaller, and must be allowed to be.
            self.padded_to = 0
            if self.compiled and isinstance(error, torch._dynamo.exc.TorchDynamoException):
                reason = first_line(getattr(error, "inner_exception", error))
                raise UserError(
                    f"this machine cannot compile the model ({reason}); leave --compile out"
                ) from error
            raise
        return [
            shaped_like(source, image, request.size)
            for source, image, request in zip(images, generated, requests, strict=True)
        ]

    def _filled(self, items: Sequence[Item]) -> Sequence[Item]:
        """For compiled blocks, of one shape each: the batch with its last item again and again."""
        if not self.compiled:
            return items
        self.padded_to = max(self.padded_to, len(items))
        return [*items, *[items[-1]] * (self.padded_to - len(items))]

    def denoise(
        self,
        requests: Sequence[GenerationRequest],
        images: Sequence[Image.Image],
        masks: Sequence[Image.Image | None] = (),
        **more: Sequence[Any],
    ) -> Tensor:
        """Latents [requests, channels, side, side] after the last step; `more` are other image prompts.

        Rows that start later, from their source images, join the batch when their first step comes.
        """
        (steps,) = {request.steps for request in requests}
        (scales,) = {guidance_scales(request) for request in requests}
        flow, order = is_flow(self.scheduler), getattr(self.scheduler, "order", 1)
        starts = [order * first_step(request.strength, steps, flow=flow) for request in requests]
        rows = sorted(range(len(requests)), key=starts.__getitem__)
        prompts = {name: [items[n] for n in rows] for name, items in more.items()}
        conditioning = self.conditioner.encode(
            [requests[n] for n in rows], [images[n] for n in rows], **prompts
        )
        self.scheduler.set_timesteps(steps, device=self.device, **self.timesteps(steps))
        items = list(zip(requests, images, masks or [None] * len(requests), strict=True))
        cohorts = [
            self._cohort(start, [items[n] for n in rows if starts[n] == start], conditioning.dtype)
            for start in sorted(set(starts))
        ]
        timesteps = self.scheduler.timesteps
        # As in diffusers, a scale of 1 or less is no guidance.
        is_guided = self.guidance and (len(scales) > 1 or scales[0] > 1)
        guided = guided_steps(self.guidance_interval, len(timesteps)) if is_guided else range(0)
        selected: tuple[Any, Any] = (None, None)
        for index, timestep in enumerate(timesteps):
            active = [cohort for cohort in cohorts if cohort.start <= index]
            if not active:
                continue
            latents = torch.cat(
                [model_input(cohort.scheduler, cohort.latents, timestep) for cohort in active]
            )
            wanted = len(latents), index in guided
            if selected[0] != wanted:
                selected = wanted, conditioning.select(*wanted)
            if index in guided:
                branches = len(scales) + 1
                predictions = self.denoiser.predict(torch.cat([latents] * branches), timestep, selected[1])
                prediction = guide(predictions.chunk(branches), scales)
            else:
                prediction = self.denoiser.predict(latents, timestep, selected[1])
            parts = torch.split(prediction, [len(cohort.latents) for cohort in active])
            for cohort, part in zip(active, parts, strict=True):
                cohort.step(part, timestep, timesteps[index + 1 : index + 2])
        latents = torch.cat([cohort.latents for cohort in cohorts])
        return latents if rows == sorted(rows) else latents[torch.tensor(rows).argsort()]

    def _cohort(
        self,
        start: int,
        items: Sequence[tuple[GenerationRequest, Image.Image, Image.Image | None]],
        dtype: torch.dtype,
    ) -> "_Cohort":
        """The rows that start at one step, with their first latents."""
        scheduler = self.scheduler if start == 0 else copy.deepcopy(self.scheduler)
        if hasattr(scheduler, "set_begin_index") and (start or is_flow(scheduler)):
            scheduler.set_begin_index(start)
        # Each request's own noise, drawn on the CPU so that it is the same on every device.
        generators = [torch.Generator().manual_seed(request.seed) for request, *_ in items]
        rows, kept = [], []
        for row, ((request, image, mask), generator) in enumerate(zip(items, generators, strict=True)):
            initial, start_image = None, request.strength is not None
            if start_image or mask is not None:
                initial = self.latent_space.encode(request.source_sha256, image, generator).to(dtype)
            noise = torch.randn((1, *self.latent_space.shape), generator=generator).to(self.device, dtype)
            if mask is not None and initial is not None:
                kept.append((row, initial, noise, latent_mask(mask, initial)))
                start_image = start_image and request.strength != 1  # as diffusers' inpainting has it
            rows.append(first_latents(scheduler, noise, initial if start_image else None, start))
        return _Cohort(start, scheduler, torch.cat(rows), generators, KeptRegions.of(kept))


@dataclass
class _Cohort:
    """Rows of a batch that start at the same step; a scheduler keeps the history of its own rows."""

    start: int
    scheduler: Any
    latents: Tensor
    generators: list[torch.Generator]
    kept: KeptRegions | None = None

    def step(self, prediction: Tensor, timestep: Tensor, following: Tensor) -> None:
        """One step; `following` is the next timestep, [1], or empty after the last step."""
        drawn = {"generator": self.generators} if draws_noise(self.scheduler) else {}
        self.latents = self.scheduler.step(prediction, timestep, self.latents, return_dict=False, **drawn)[
            0
        ]
        if self.kept is not None:
            self.latents = self.kept.restored(self.scheduler, self.latents, following)


def shaped_like(
    source: Image.Image, image: Image.Image | None, size: int | str = "model"
) -> Image.Image | None:
    """The image with the source's aspect ratio: `model` only shrinks it, within the square that it is.

    A number is the longer side in pixels; `source` is the source's own size.
    """
    if image is None:
        return image
    longest = max(source.size)
    ratio = {"model": min(1.0, image.width / longest), "source": 1.0}.get(str(size))
    ratio = int(size) / longest if ratio is None else ratio
    sides = (max(1, round(source.width * ratio)), max(1, round(source.height * ratio)))
    return image if sides == image.size else image.resize(sides, Image.Resampling.BILINEAR)
