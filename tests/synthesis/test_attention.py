"""A lambda per image: a mixed batch equals each image made alone by stock diffusers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.synthesis.tiny import save_tiny

from dalda.records import Job
from dalda.synthesis.attention import install, remove
from dalda.synthesis.diffusion import Renderer, load_renderer
from dalda.synthesis.presets import Preset

LAMBDAS = (0.0, 0.15, 0.5, 0.9, 1.0)
STEPS, GUIDANCE = 3, 4.0


def job_of(number: int, ip_adapter_scale: float, source: str | None = None) -> Job:
    return Job(
        source=Path("a.png"),
        source_sha256=source or f"source{number}",
        label="car",
        repeat=0,
        method="dalda",
        model="tiny",
        prompt=f"a photo of a {['red', 'green', 'white'][number % 3]} car",
        negative_prompt="low quality",
        ip_adapter_scale=ip_adapter_scale,
        ip_adapter_scale_mean=None,
        clip_score=None,
        guidance_scale=GUIDANCE,
        strength=None,
        steps=STEPS,
        seed=100 + number,
    )


def source_of(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    model, adapter = save_tiny(tmp_path_factory.mktemp("tiny"))
    preset = Preset(
        model=str(model),
        adapter=str(adapter),
        adapter_folder="models",
        adapter_file="tiny.safetensors",
        image_encoder="models/image_encoder",
        clip="",
    )
    return load_renderer(preset)


def latents_of(renderer: Renderer, jobs: list[Job], sources: list[Image.Image]) -> torch.Tensor:
    """The last latents of a batch, before decoding rounds them to bytes."""
    kept: list[torch.Tensor] = []
    decode = renderer._decode

    def keep(latents: torch.Tensor) -> list[Image.Image]:
        kept.append(latents)
        return decode(latents)

    renderer._decode = keep  # type: ignore[method-assign]
    try:
        renderer.render(jobs, sources)
    finally:
        del renderer.__dict__["_decode"]
    return kept[0]


def stock_latents(pipeline: Any, job: Job, source: Image.Image, *, text_only: bool = False) -> torch.Tensor:
    """One image as stock diffusers makes it."""
    shape = (1, 4, 8, 8)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(job.seed))
    extra: dict[str, Any] = {}
    if not text_only:
        pipeline.set_ip_adapter_scale(job.ip_adapter_scale)
        pixels = pipeline.feature_extractor(source, return_tensors="pt")["pixel_values"]
        embeds = pipeline.image_encoder(pixels).image_embeds[:, None]
        extra["ip_adapter_image_embeds"] = [torch.cat([torch.zeros_like(embeds), embeds])]
    with torch.no_grad():
        made = pipeline(
            prompt=job.prompt,
            negative_prompt=job.negative_prompt,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            latents=noise,
            output_type="latent",
            **extra,
        )
    latents: torch.Tensor = made.images
    return latents


def stock_of(renderer: Renderer) -> dict[str, Any]:
    """The stock processors behind ours."""
    return {name: processor.stock for name, processor in renderer.pipeline.unet.attn_processors.items()}


def test_a_mixed_batch_equals_each_image_made_alone_by_stock_diffusers(renderer: Renderer) -> None:
    jobs = [job_of(number, weight) for number, weight in enumerate(LAMBDAS)]
    sources = [source_of(number) for number in range(len(jobs))]
    ours = latents_of(renderer, jobs, sources)
    pipeline = renderer.pipeline
    pipeline.set_progress_bar_config(disable=True)
    remove(pipeline.unet, stock_of(renderer))
    try:
        stock = [stock_latents(pipeline, job, source) for job, source in zip(jobs, sources, strict=True)]
    finally:
        install(pipeline.unet)
    assert (ours - torch.cat(stock)).abs().max() < 1e-4
    assert (ours[2] - ours[3]).abs().max() > 1e-2


def test_lambda_zero_is_the_text_alone(renderer: Renderer) -> None:
    one = latents_of(renderer, [job_of(0, 0.0)], [source_of(0)])
    other = latents_of(renderer, [job_of(0, 0.0, "another")], [source_of(9)])
    assert torch.equal(one, other)


def test_swapping_one_reference_changes_that_image_alone(renderer: Renderer) -> None:
    jobs = [job_of(number, 0.8) for number in range(4)]
    sources = [source_of(number) for number in range(4)]
    before = latents_of(renderer, jobs, sources)
    swapped = [*jobs[:2], job_of(2, 0.8, "swapped"), jobs[3]]
    after = latents_of(renderer, swapped, [*sources[:2], source_of(50), sources[3]])
    changed = (before - after).abs().amax(dim=(1, 2, 3))
    assert changed[2] > 1e-3
    assert changed[[0, 1, 3]].max() == 0


def test_a_batch_of_one_and_any_other_size_agree(renderer: Renderer) -> None:
    jobs = [job_of(number, 0.2 * number) for number in range(5)]
    sources = [source_of(number) for number in range(5)]
    together = latents_of(renderer, jobs, sources)
    alone = [latents_of(renderer, [job], [source]) for job, source in zip(jobs, sources, strict=True)]
    assert (together - torch.cat(alone)).abs().max() < 1e-4


def test_install_and_remove_give_back_the_stock_model(renderer: Renderer) -> None:
    unet = renderer.pipeline.unet
    before = stock_of(renderer)
    remove(unet, before)
    assert dict(unet.attn_processors) == before
    assert install(unet) == before


def test_a_model_without_an_adapter_is_refused(renderer: Renderer, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    model, _ = save_tiny(tmp_path)
    with pytest.raises(ValueError, match="no image prompt adapter"):
        install(UNet2DConditionModel.from_pretrained(model / "unet"))


def test_the_scale_must_be_given(renderer: Renderer) -> None:
    unet = renderer.pipeline.unet
    with pytest.raises(ValueError, match="ip_adapter_scale"):
        unet(
            torch.zeros(1, 4, 8, 8),
            1,
            torch.zeros(1, 7, 16),
            added_cond_kwargs={"image_embeds": [torch.zeros(1, 1, 24)]},
        )
