"""Edits by instruction: each image of a batch equals stock diffusers making it alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from tests.generation.stock import request_of, source_of
from tests.generation.tiny import WIDTH, save_tiny

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.instruct_pix2pix import (
    IMAGE_GUIDANCE,
    InstructPix2PixConditioner,
    InstructPix2PixGenerator,
)
from dalda.generation.plan import refuse_incapable
from dalda.methods.base import method_named
from dalda.models.presets import Preset, preset_named
from dalda.types import Capability, GenerationRequest


def save_editor(folder: Path) -> Preset:
    """A tiny random InstructPix2Pix model on disk."""
    model, _ = save_tiny(folder)
    parts = DiffusionPipeline.from_pretrained(model).components
    torch.manual_seed(1)
    parts["unet"] = UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    pipeline = StableDiffusionInstructPix2PixPipeline(
        **{**parts, "safety_checker": None}, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder / "edit")
    return Preset(
        model=str(folder / "edit"),
        adapter="",
        adapter_folder="",
        adapter_file="",
        image_encoder="",
        clip="",
    )


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> InstructPix2PixGenerator:
    found = GeneratorSpec(save_editor(tmp_path_factory.mktemp("tiny"))).load()
    assert isinstance(found, InstructPix2PixGenerator)
    return found


def edits() -> list[GenerationRequest]:
    return [replace(request_of(number, 0.0), image_guidance_scale=1.5) for number in range(3)]


def test_each_edit_of_a_batch_is_that_of_stock_diffusers(generator: InstructPix2PixGenerator) -> None:
    requests, sources = edits(), [source_of(number) for number in range(3)]
    with torch.no_grad():
        ours = generator.denoise(requests, sources)
    conditioner = generator.conditioner
    assert isinstance(conditioner, InstructPix2PixConditioner)
    pipeline = conditioner.pipeline
    pipeline.scheduler = generator.scheduler
    pipeline.set_progress_bar_config(disable=True)
    stock = [
        pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            image=source.resize((16, 16)),
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            image_guidance_scale=request.image_guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
        ).images
        for request, source in zip(requests, sources, strict=True)
    ]
    assert (ours - torch.cat(stock)).abs().max() < 1e-4


def test_a_request_without_image_guidance_has_the_usual_one(generator: InstructPix2PixGenerator) -> None:
    named = replace(request_of(0, 0.0), image_guidance_scale=IMAGE_GUIDANCE)
    plain = replace(named, image_guidance_scale=None)
    images = [generator.generate([request], [source_of(0)])[0] for request in (named, plain)]
    assert images[0] is not None
    assert images[1] is not None
    assert images[0].tobytes() == images[1].tobytes()


def test_it_edits_and_does_nothing_else(generator: InstructPix2PixGenerator) -> None:
    method = method_named("diffusemix")
    assert generator.capabilities == {Capability.EDIT}
    refuse_incapable(
        "diffusemix", method.needs_with(method.Options(edit=True)), "it", generator.capabilities
    )
    with pytest.raises(UserError, match="needs image-prompt, which the model 'it' does not have"):
        refuse_incapable("dalda", method_named("dalda").needs, "it", generator.capabilities)


def test_a_model_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    """A folder that calls itself InstructPix2Pix, with the UNet of a plain Stable Diffusion."""
    model, _ = save_tiny(tmp_path)
    parts = DiffusionPipeline.from_pretrained(model).components
    plain = {**parts, "safety_checker": None}
    StableDiffusionInstructPix2PixPipeline(**plain, requires_safety_checker=False).save_pretrained(
        tmp_path / "edit"
    )
    preset = replace(preset_named("sd15"), model=str(tmp_path / "edit"), adapter=None, vae=None, size=None)
    with pytest.raises(
        UserError, match="is no InstructPix2Pix model: its UNet reads 4 channels, and an edit"
    ):
        GeneratorSpec(preset).load()
