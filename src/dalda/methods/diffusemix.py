"""DiffuseMix: half of the real image, half of an edit of it in a style, and a fractal over both.

Islam et al., "DiffuseMix: Label-Preserving Data Augmentation with Diffusion Models", arXiv 2405.14881. With
`edit=true` and an InstructPix2Pix model the edit follows an instruction, as in the paper; without one it is
image-to-image with the same prompt. Left out: the paper's own fractals, which are drawn by code here, and
its scheduler (`--scheduler euler-ancestral`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from dalda.methods.base import Captions, Method, MethodOptions, Prepared, requests_per_image
from dalda.methods.fractals import draw_fractal
from dalda.seeding import generator_of
from dalda.types import Capability, FewShotSplit, GenerationRequest

STYLES = (
    "Autumn",
    "snowy",
    "watercolor art",
    "sunset",
    "rainbow",
    "aurora",
    "mosaic",
    "ukiyo-e",
    "a sketch with crayon",
)
PROMPT = "A transformed version of image into {}"
SEAM = 20 / 256
"""Width of the seam, in shares of the side: 20 of 256 pixels."""


class DiffuseMixOptions(MethodOptions):
    """The settings of the paper's code; the strength is ours, for models that take no instruction."""

    edit: bool = False
    """Edits by instruction; needs an InstructPix2Pix model."""
    strength: float = Field(default=0.5, gt=0, le=1)
    """Of image-to-image, without an InstructPix2Pix model."""
    guidance_scale: float = Field(default=4.0, gt=0)
    image_guidance_scale: float = Field(default=1.5, ge=1)
    steps: int = Field(default=100, ge=1)
    fractal: float = Field(default=0.2, ge=0, le=1)
    """Share of the fractal."""


class DiffuseMix(Method):
    """Edits in nine styles, mixed with their source; the label stays."""

    name = "diffusemix"
    paper = "arXiv 2405.14881"
    Options = DiffuseMixOptions

    def needs_with(self, options: DiffuseMixOptions) -> frozenset[Capability]:
        return frozenset({Capability.EDIT if options.edit else Capability.INIT_IMAGE})

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        options: DiffuseMixOptions = prepared.options
        how: dict[str, Any] = {"negative_prompt": "", "overlay": options.fractal}
        if options.edit:
            how["image_guidance_scale"] = options.image_guidance_scale
        else:
            how["strength"] = options.strength
        prompts = {image.label: [PROMPT.format(style) for style in STYLES] for image in split.images}
        plain = replace(prepared, common=replace(prepared.common, prompt_prefix=""))
        return requests_per_image(split, prompts, plain, seed, lambda source, generator: how)

    def finish(
        self, image: Image.Image, request: GenerationRequest, sources: Sequence[Image.Image]
    ) -> Image.Image:
        """The mix, of the size of the edited image; where the seam lies follows from the request's seed."""
        generator = generator_of(request.seed, "mix")
        vertical = bool(generator.integers(2))
        real = sources[0].resize(image.size, Image.Resampling.BILINEAR)
        fractal = draw_fractal(image.size, generator)
        return mixed(real, image, fractal, vertical=vertical, share=request.overlay or 0.0)


def seam_mask(width: int, height: int, *, vertical: bool) -> NDArray[np.float64]:
    """Share of the edited image at each pixel, [height, width]: 0 in the first half, 1 in the second.

    A vertical seam divides left from right; it is a linear ramp of 20 pixels in 256 around the middle.
    """
    side = width if vertical else height
    seam = max(1, round(side * SEAM))
    ramp = np.clip((np.arange(side) + 0.5 - side / 2) / seam + 0.5, 0, 1)
    return np.broadcast_to(ramp if vertical else ramp[:, None], (height, width))


def mixed(
    real: Image.Image, edited: Image.Image, fractal: Image.Image, *, vertical: bool, share: float
) -> Image.Image:
    """(1 - share) times the two halves, plus `share` times the fractal; all of one size."""
    mask = seam_mask(*real.size, vertical=vertical)[..., None]
    one, two, three = (np.asarray(image.convert("RGB"), np.float64) for image in (real, edited, fractal))
    pixels = (1 - share) * ((1 - mask) * one + mask * two) + share * three
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
