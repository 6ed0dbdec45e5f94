"""The model families: which loader a checkpoint's own pipeline class has, and what its family can do."""

from dataclasses import dataclass, replace

_BACKENDS = "dalda.generation.backends."


OPTIONS = ("adapter", "second_adapter", "adapter_blocks", "lora", "vae", "noise_schedule")
"""Fields of a preset that not every family knows."""


@dataclass(frozen=True)
class Family:
    """What is declared of a model family; docs/generators.md shows this table.

    In every family, each image of a batch has its own source image and scale.
    """

    loader: str
    """`module:function`, which takes a `GeneratorSpec`."""
    scale: str
    """What the IP-Adapter scale of a request does."""
    image_to_image: bool
    """Whether a request may have a strength."""
    size: int
    """Of the published models, in pixels."""
    steps: str
    licence: str
    """Of the published weights; the adapter's where it is stricter."""
    image_prompts: str = "one"
    """How many real images at once, and how they are merged."""
    options: frozenset[str] = frozenset()
    """Which of OPTIONS mean something to it; the others are refused."""


_MERGED = "several: tokens or mean"
_SD = Family(
    loader=_BACKENDS + "stable_diffusion:load_stable_diffusion",
    scale="IP-Adapter",
    image_to_image=True,
    size=512,
    steps="30",
    licence="CreativeML OpenRAIL-M",
    image_prompts=_MERGED,
    options=frozenset(OPTIONS),
)
_SDXL = replace(_SD, size=1024, licence="CreativeML OpenRAIL++-M")
_SD3 = Family(
    loader=_BACKENDS + "stable_diffusion_3:load_stable_diffusion_3",
    scale="IP-Adapter (InstantX' for 3.5 large)",
    image_to_image=True,
    size=1024,
    steps="28 (large-turbo: 4)",
    licence="Stability Community (below $1 M of revenue)",
    options=frozenset({"adapter"}),
)
_FLUX = Family(
    loader=_BACKENDS + "flux:load_flux",
    scale="IP-Adapter (XLabs' or InstantX')",
    image_to_image=True,
    size=1024,
    steps="28 (schnell: 4)",
    licence="dev and the adapters: non-commercial; schnell: Apache-2.0",
    image_prompts=_MERGED,
    options=frozenset({"adapter"}),
)
_CHROMA = replace(
    _FLUX,
    loader=_BACKENDS + "flux:load_chroma",
    steps="35",
    licence="Apache-2.0; the adapters: non-commercial",
)
_KLEIN = Family(
    loader=_BACKENDS + "flux2_klein:load_klein",
    scale="image guidance: v0 + scale (v_reference - v0); above 1 it exaggerates",
    image_to_image=False,
    size=1024,
    steps="4 (base: 50)",
    licence="4B: Apache-2.0; 9B: non-commercial",
    image_prompts="several: tokens",
)
_STRENGTH = Family(
    loader=_BACKENDS + "image_to_image:load_image_to_image",
    scale="1 - strength of image-to-image; 0 is text alone",
    image_to_image=True,
    size=1024,
    steps="8",
    licence="Apache-2.0",
    image_prompts="none",
)
FAMILIES = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionXLPipeline": _SDXL,
    "KolorsPipeline": replace(
        _SDXL,
        steps="50",
        licence="Kolors: commercial use by registration; outputs may not improve other models",
    ),
    "StableDiffusionInstructPix2PixPipeline": replace(
        _SD,
        loader=_BACKENDS + "instruct_pix2pix:load_instruct_pix2pix",
        scale="none: edits by instruction",
        image_to_image=False,
        steps="100",
        licence="MIT",
        image_prompts="none",
        options=frozenset(OPTIONS) - {"second_adapter"},
    ),
    "StableDiffusion3Pipeline": _SD3,
    "FluxPipeline": _FLUX,
    "ChromaPipeline": _CHROMA,
    "Flux2KleinPipeline": _KLEIN,
    "ZImagePipeline": _STRENGTH,
    "QwenImagePipeline": replace(_STRENGTH, steps="50"),
    "SanaSprintPipeline": replace(_STRENGTH, steps="2", licence="NVIDIA, non-commercial"),
}
"""Pipeline class of a checkpoint -> its family."""
