"""Image-to-image with any pipeline of diffusers that has a strength: Z-Image, Qwen-Image, SANA-Sprint.

These have no image prompt. A request's IP-Adapter scale is taken as 1 - strength: 0 is the text alone, and
the nearer to 1, the fewer of the last steps are run from the source image. Images are made one by one: a
batch of a stock pipeline has one strength.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import diffusers
import torch
from PIL import Image

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec, pipeline_class
from dalda.generation.backends.diffusion import shaped_like
from dalda.generation.backends.pipeline_parts import load_parts, to_device
from dalda.types import Capability, GenerationRequest

IMAGE_TO_IMAGE = {
    "ZImagePipeline": "ZImageImg2ImgPipeline",
    "QwenImagePipeline": "QwenImageImg2ImgPipeline",
    "SanaSprintPipeline": "SanaSprintImg2ImgPipeline",
}
"""Pipeline class of a checkpoint -> its image-to-image pipeline, with the same parts."""
GUIDANCE = {"QwenImagePipeline": "true_cfg_scale"}
"""What a pipeline calls the scale of classifier-free guidance, where it is not `guidance_scale`."""


@dataclass
class ImageToImageGenerator:
    """An `ImageGenerator` over two stock pipelines of the same parts."""

    from_text: Any
    from_image: Any
    image_size: int
    fingerprint: Mapping[str, object]
    execution: Mapping[str, object]
    guidance: str = "guidance_scale"
    capabilities: frozenset[Capability] = frozenset({Capability.IMAGE_PROMPT, Capability.INIT_IMAGE})

    def choose_batch_size(self, request: GenerationRequest, image: Image.Image) -> int:
        """Images are made one by one."""
        return 1

    def expect_batches_of(self, size: int) -> None:
        """Nothing depends on it."""

    @torch.no_grad()
    def generate(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        """One image per request, with the aspect ratio of its source and at most the model's size."""
        return [
            shaped_like(image, self._generate(request, image), request.size)
            for request, image in zip(requests, images, strict=True)
        ]

    def _generate(self, request: GenerationRequest, image: Image.Image) -> Image.Image | None:
        strength = strength_of(request)
        size = (self.image_size, self.image_size)
        more: dict[str, Any] = {}
        if strength is not None:
            more = {"image": image.resize(size, Image.Resampling.LANCZOS), "strength": strength}
        pipeline = self.from_text if strength is None else self.from_image
        options = {
            "negative_prompt": request.negative_prompt,
            # SANA-Sprint: of two steps alone; and no detour over the sizes that it was trained on.
            "intermediate_timesteps": 1.3 if request.steps == 2 else None,
            "use_resolution_binning": False,
        }
        known = inspect.signature(pipeline.__call__).parameters
        more |= {name: value for name, value in options.items() if name in known}
        made = pipeline(
            prompt=request.prompt,
            num_inference_steps=request.steps,
            generator=torch.Generator().manual_seed(request.seed),
            width=size[0],
            height=size[1],
            output_type="pt",
            **{self.guidance: request.guidance_scale},
            **more,
        ).images[0]
        if not made.isfinite().all():
            return None
        array = (made.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
        return Image.fromarray(array.cpu().numpy())


def strength_of(request: GenerationRequest) -> float | None:
    """The strength of image-to-image, at least that of one step; None generates from the text alone.

    A stock pipeline runs every step that the strength reaches into, and refuses one of 0.
    """
    if request.strength is not None:
        return request.strength
    if request.ip_adapter_scale == 0:
        return None
    return min(1.0, max(1 - request.ip_adapter_scale, 1 / request.steps))


def load_image_to_image(spec: GeneratorSpec) -> ImageToImageGenerator:
    """Loads the model. Raises UserError for a model that cannot be loaded."""
    named = pipeline_class(spec.preset.model)
    kind, other = (getattr(diffusers, name, None) for name in (named, IMAGE_TO_IMAGE[named]))
    if kind is None or other is None:
        raise UserError(
            f"the installed diffusers has no {IMAGE_TO_IMAGE[named]}; install a newer one, or choose "
            "another --model"
        )
    pipeline = load_parts(spec, kind)
    return assemble_image_to_image(pipeline, other(**pipeline.components), spec)


def assemble_image_to_image(from_text: Any, from_image: Any, spec: GeneratorSpec) -> ImageToImageGenerator:
    """A generator from the two stock pipelines of a family."""
    to_device(from_text, spec)
    for pipeline in (from_text, from_image):
        pipeline.set_progress_bar_config(disable=True)
    return ImageToImageGenerator(
        from_text,
        from_image,
        spec.preset.size or 1024,
        spec.fingerprint,
        replace(spec, channels_last=False, compile=False).execution,
        GUIDANCE.get(type(from_text).__name__, "guidance_scale"),
    )
