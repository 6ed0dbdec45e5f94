"""A model family behind one call: requests and source images in, images out.

A generator is chosen by `--model`: a checkpoint by its own pipeline class, a generator of another package
by its entry point in the group `dalda.generators`, or an object from Python by `augment(generator=...)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from PIL import Image

from dalda.datasets.masks import edited_region
from dalda.generation.backends.checkpoint import GROUP, refuse_foreign, refuse_misfit
from dalda.generation.backends.families import FAMILIES
from dalda.generation.plan import generator_fingerprint
from dalda.models.fingerprint import contents_of
from dalda.models.hub import loaded
from dalda.models.presets import Preset
from dalda.models.single_file import class_of_file
from dalda.plugins import load_plugin, plugins_of
from dalda.types import Capability, GenerationRequest

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class ImageGenerator(Protocol):
    """Generates images; `generate` is a pure function of requests and images for a given batch size."""

    @property
    def image_size(self) -> int:
        """Width and height of its images in pixels."""

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """Whatever decides pixels beyond rounding: model, adapter, scheduler, ... by content."""

    def generate(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> list[Image.Image | None]:
        """One image per request, given its source image; None for one with values that are not numbers.

        A generator with the capability SECOND_IMAGE_PROMPT takes an argument `second_images`, for
        requests with a second source; with SEVERAL_IMAGE_PROMPTS `more_images`, for each request a
        sequence of its further image prompts, as many as the others have; with INPAINTING `masks`, for
        each request a square mask in grey, white where the image is regenerated, or None.
        """


@runtime_checkable
class TunableGenerator(ImageGenerator, Protocol):
    """What a generator on this machine offers beside: its execution is recorded, its batch size chosen."""

    @property
    def execution(self) -> Mapping[str, object]:
        """How it computes: device, dtype and the like, which change images by rounding only."""

    def choose_batch_size(self, request: GenerationRequest, image: Image.Image) -> int:
        """How many images to generate together."""

    def expect_batches_of(self, size: int) -> None:
        """Tells the size of all batches to come; the last may be smaller."""


def execution_of(generator: ImageGenerator) -> Mapping[str, object]:
    """How a generator computes, where it says so."""
    return generator.execution if isinstance(generator, TunableGenerator) else {}


@dataclass(frozen=True)
class GeneratorSpec:
    """What a process needs to load a generator; picklable."""

    preset: Preset
    device: str = "cpu"
    dtype: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    offload: str = "none"
    """Which parts wait in the machine's memory until they are needed: none, model or sequential."""

    @property
    def execution(self) -> Mapping[str, object]:
        """How it computes, which changes images by rounding only."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "channels_last": self.channels_last,
            "compile": self.compile,
        }

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """Whatever decides pixels beyond rounding; folders by content, wherever they are."""
        return generator_fingerprint(self.preset, contents_of(self.preset.model, self.preset))

    def load(self) -> ImageGenerator:
        """Loads the generator. Raises UserError for a model that cannot be loaded."""
        name = self.preset.model
        if name in plugins_of(GROUP):
            loader = load_plugin(GROUP, name)
        else:
            refuse_misfit(self.preset)
            family = pipeline_class(name)
            refuse_foreign(self.preset, family)
            known = family in FAMILIES
            loader = resolve_name(FAMILIES[family].loader) if known else load_plugin(GROUP, family)
        generator: ImageGenerator = loader(self)
        return generator


def pipeline_class(model: str) -> str:
    """The class that a checkpoint names as its own; of one file, that of its tensors."""
    if Path(model).is_file():
        return class_of_file(Path(model))
    from diffusers import DiffusionPipeline

    settings = loaded(model, "--model", DiffusionPipeline.load_config)
    return str(settings.get("_class_name"))


class Conditioning(Protocol):
    """What the denoiser is conditioned on, for each image of a batch."""

    @property
    def dtype(self) -> "torch.dtype": ...

    def select(self, count: int, guided: bool) -> "Conditioning":
        """Of the first `count` images; guided is all branches of the guidance, unconditional rows first."""


class Conditioner(Protocol):
    """Encodes prompts and image prompts."""

    def encode(
        self, requests: Sequence[GenerationRequest], images: Sequence[Image.Image]
    ) -> Conditioning: ...


class Denoiser(Protocol):
    """Predicts the noise (or velocity) in latents."""

    def predict(self, latents: "Tensor", timestep: "Tensor", conditioning: Any) -> "Tensor": ...


def generate_from(
    generator: Any, requests: Sequence[GenerationRequest], sources: Sequence[Sequence[Image.Image]]
) -> list[Image.Image | None]:
    """A batch from the images of each request's `source_files`."""
    rest = [list(images[1:]) for images in sources]
    more: dict[str, Any] = {}
    if any(request.mask for request in requests):
        more["masks"] = [
            edited_region(images.pop(), generator.image_size, request.mask_growth, request.mask_inverted)
            if request.mask
            else None
            for request, images in zip(requests, rest, strict=True)
        ]
    if any(request.second_source for request in requests):
        more["second_images"] = [images.pop(0) for images in rest]
    if any(rest):
        more["more_images"] = rest
    generated: list[Image.Image | None] = generator.generate(
        requests, [images[0] for images in sources], **more
    )
    return generated


class LatentSpace(Protocol):
    """Images to latents and back."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image's latents."""

    @property
    def is_tiled(self) -> bool:
        """Whether images are decoded in tiles, for want of memory."""

    def encode(self, key: str, image: Image.Image, noise: "torch.Generator") -> "Tensor":
        """Latents [1, ...] of an image; equal keys are equal images."""

    def decode(self, latents: "Tensor") -> list[Image.Image | None]:
        """Images of latents; None for one with values that are not numbers."""
