"""What the IP-Adapter scale does in a model: the similarity of its images to their source, by scale."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from dalda.config import AugmentConfig, CalibrateConfig
from dalda.config.roles import digest_of
from dalda.datasets.image_io import open_source
from dalda.device import device_named
from dalda.errors import UserError
from dalda.generation.plan import generator_fingerprint
from dalda.methods.similarity_curve import SCALES, SimilarityCurve, save_curve
from dalda.models.fingerprint import contents_of
from dalda.models.presets import Preset
from dalda.progress import progress
from dalda.seeding import generator_of, seed_of
from dalda.types import FewShotSplit, GenerationRequest, RealImage
from dalda.workflows.augment_plan import load_generator, preset_of
from dalda.workflows.captions import captions_for
from dalda.workflows.real_images import checked, split_of

if TYPE_CHECKING:
    from dalda.generation.backends.base import ImageGenerator
    from dalda.models.clip import Clip


@dataclass(frozen=True)
class CalibrateReport:
    """What `dalda calibrate` measured: one similarity for each scale."""

    model: str
    images: int
    scales: tuple[float, ...]
    similarities: tuple[float, ...]
    path: Path


def calibrate(config: CalibrateConfig, generator: "ImageGenerator | None" = None) -> CalibrateReport:
    """Measures at seven scales, with one seed and caption per real image, and keeps the curve in the cache.

    The similarity is the cosine of the image features of the preset's CLIP. Raises UserError where the
    model cannot be loaded, or an image has values that are not numbers.
    """
    from dalda.models.clip import load_clip

    asked = AugmentConfig(
        dataset=config.dataset,
        out=Path(),
        model=config.model,
        model_option=config.model_option,
        device=config.device,
    )
    preset, split = preset_of(asked), _some_of(checked(split_of(config)), config)
    digest = digest_of(
        dict(generator.fingerprint)
        if generator is not None
        else generator_fingerprint(preset, contents_of(config.model, preset))
    )
    generator = generator or load_generator(asked, preset)
    clip = load_clip(preset.clip, device_named(config.device))
    requests = _requests(split, preset, config.seed)
    totals = [0.0] * len(SCALES)
    with progress("calibrate", len(requests)) as bar:
        for request in requests:
            source = open_source(request.source, request.source_sha256)
            images = _at_all_scales(generator, request, source)
            if None in images:
                raise UserError(
                    f"the model '{config.model}' gave an image with values that are not numbers; choose "
                    "another --model"
                )
            totals = [
                total + _cosine(clip, source, image) for total, image in zip(totals, images, strict=True)
            ]
            bar.advance()
    similarities = tuple(round(total / len(requests), 4) for total in totals)
    curve = SimilarityCurve(SCALES, similarities)
    path = save_curve(curve, digest, {"model": config.model, "clip": preset.clip, "images": len(requests)})
    return CalibrateReport(config.model, len(requests), SCALES, similarities, path)


def _at_all_scales(
    generator: "ImageGenerator", request: GenerationRequest, source: Image.Image
) -> list[Any]:
    """An image at each scale, as many together as the generator takes."""
    requests = [replace(request, ip_adapter_scale=scale) for scale in SCALES]
    choose = getattr(generator, "choose_batch_size", lambda request, source: 1)
    size = choose(request, source)
    images: list[Any] = []
    for start in range(0, len(requests), size):
        part = requests[start : start + size]
        images += generator.generate(part, [source] * len(part))
    return images


def _some_of(split: FewShotSplit, config: CalibrateConfig) -> FewShotSplit:
    """As many images as are wanted, drawn from all classes alike."""
    order = generator_of(config.seed, "calibrate").permutation(len(split.images))
    drawn = [split.images[int(number)] for number in order]
    rank: dict[str, int] = {}

    def turn(image: RealImage) -> int:
        rank[image.label] = rank.get(image.label, -1) + 1
        return rank[image.label]

    return replace(split, images=tuple(sorted(drawn, key=turn)[: config.images]))


def _requests(split: FewShotSplit, preset: Preset, seed: int) -> list[GenerationRequest]:
    captions = captions_for(split, preset.words, seed)
    return [
        GenerationRequest(
            source=image.path,
            source_sha256=image.sha256,
            label=image.label,
            index=0,
            seed=seed_of(seed, "calibrate", image.label, image.sha256),
            prompt=preset.prompt_prefix + captions[image.label][0],
            negative_prompt=preset.negative_prompt,
            guidance_scale=preset.guidance_scale,
            steps=preset.steps,
        )
        for image in split.images
    ]


def _cosine(clip: "Clip", source: Image.Image, image: Image.Image) -> float:
    import torch

    features = clip.image_features(torch.stack([clip.pixels(source), clip.pixels(image)])).float()
    return float(torch.nn.functional.cosine_similarity(features[:1], features[1:])[0])
