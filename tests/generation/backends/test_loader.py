"""Any parts that go together are loaded; those that do not are refused in one sentence."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tests.generation.stock import (
    latents_of,
    load,
    pipeline_of,
    preset_of,
    request_of,
    source_of,
    stock_latents,
    stock_model,
)
from tests.generation.tiny import EMBEDS, PATCH_WIDTH
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dalda.errors import UserError
from dalda.generation.backends.loader import load_pipeline
from dalda.models.preset_options import with_adapter
from dalda.models.presets import Preset

JOB, SOURCE = request_of(0, 0.6), source_of(0)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    return preset_of(tmp_path_factory.mktemp("tiny"))


def state_of(preset: Preset) -> dict[str, dict[str, torch.Tensor]]:
    """An adapter's weights as the pickled files hold them."""
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, weight in load_file(Path(str(preset.adapter)) / "models" / preset.adapter_file).items():
        part, _, rest = name.partition(".")
        parts[part][rest] = weight
    return parts


def test_a_pickled_adapter_is_read_as_weights_only(preset: Preset, tmp_path: Path) -> None:
    shutil.copytree(str(preset.adapter), tmp_path / "adapter")
    state = state_of(preset)
    torch.save(state, tmp_path / "adapter/models/tiny.bin")
    pickled = with_adapter(preset, f"{tmp_path / 'adapter'}:tiny.bin")
    ours = latents_of(load(pickled), [JOB], [SOURCE])
    assert torch.equal(ours, latents_of(load(preset), [JOB], [SOURCE]))

    torch.save({**state, "more": Trap(tmp_path / "sprung")}, tmp_path / "adapter/models/evil.bin")
    with pytest.raises(UserError, match="no readable file of weights"):
        load(with_adapter(preset, f"{tmp_path / 'adapter'}:evil.bin"))
    assert not (tmp_path / "sprung").exists()


class Trap:
    """What pickle would run on loading."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.sprung),)


def test_an_adapters_folder_may_be_flat(preset: Preset, tmp_path: Path) -> None:
    shutil.copytree(Path(str(preset.adapter)) / "models", tmp_path / "flat")
    flat = with_adapter(preset, f"{tmp_path / 'flat'}:tiny.safetensors")
    ours = latents_of(load(flat), [JOB], [SOURCE])
    assert torch.equal(ours, latents_of(load(preset), [JOB], [SOURCE]))


def test_an_adapter_of_another_model_is_refused(preset: Preset, tmp_path: Path) -> None:
    other = preset_of(tmp_path, xl=True)
    with pytest.raises(UserError, match="--adapter") as error:
        load(replace(preset, adapter=other.adapter))
    assert "\n" not in str(error.value)


def test_a_folder_with_half_precision_files_alone_is_read(preset: Preset, tmp_path: Path) -> None:
    shutil.copytree(preset.model, tmp_path / "model")
    for file in (tmp_path / "model").rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    ours = latents_of(load(replace(preset, model=str(tmp_path / "model"))), [JOB], [SOURCE])
    assert torch.equal(ours, latents_of(load(preset), [JOB], [SOURCE]))


def test_a_lora_is_merged_as_stock_diffusers_applies_it(preset: Preset, tmp_path: Path) -> None:
    stock = DiffusionPipeline.from_pretrained(preset.model)
    torch.manual_seed(1)
    stock.unet.add_adapter(
        LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_out.0"])
    )
    StableDiffusionPipeline.save_lora_weights(
        tmp_path, unet_lora_layers=get_peft_model_state_dict(stock.unet)
    )
    request = request_of(0, 0.0)
    ours = latents_of(load(replace(preset, lora=str(tmp_path))), [request], [SOURCE])
    assert (ours - stock_latents(stock, request, None)).abs().max() < 1e-4
    plain = latents_of(load(preset), [request], [SOURCE])
    assert (ours - plain).abs().max() > 1e-3
    none = latents_of(load(replace(preset, lora=str(tmp_path), lora_scale=0.0)), [request], [SOURCE])
    assert (none - plain).abs().max() < 1e-4


def test_a_lora_for_something_else_is_refused(preset: Preset, tmp_path: Path) -> None:
    weights = {f"transformer.blocks.0.to_q.lora_{one}.weight": torch.zeros(2, 2) for one in "AB"}
    save_file(weights, tmp_path / "pytorch_lora_weights.safetensors")
    with pytest.raises(UserError, match="--lora"):
        load(replace(preset, lora=str(tmp_path)))


def test_a_tiny_autoencoder_takes_the_place_of_the_models_own(preset: Preset, tmp_path: Path) -> None:
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    tiny.save_pretrained(tmp_path)
    generator = load(replace(preset, vae=str(tmp_path)))
    assert isinstance(pipeline_of(generator).vae, AutoencoderTiny)
    (image,) = generator.generate([JOB], [SOURCE])
    assert image is not None
    assert image.size == (16, 16)


def test_parts_that_do_not_go_together_are_refused(preset: Preset, tmp_path: Path) -> None:
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=7).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"has 7 channels, .* works on 4; name another with --vae"):
        load(replace(preset, vae=str(tmp_path)))
    with pytest.raises(UserError, match="a multiple of 2"):
        load(replace(preset, size=17))


def test_other_kinds_of_autoencoders_are_refused(preset: Preset, tmp_path: Path) -> None:
    shutil.copytree(preset.model, tmp_path / "other")
    vae = tmp_path / "other/vae/config.json"
    vae.write_text(json.dumps({**json.loads(vae.read_text()), "_class_name": "AutoencoderDC"}))
    with pytest.raises(UserError, match="is a AutoencoderDC; one of AutoencoderKL"):
        load(replace(preset, vae=str(tmp_path / "other/vae")))


def test_xl_decodes_in_single_precision_where_half_would_overflow(tmp_path: Path) -> None:
    pipeline = load_pipeline(preset_of(tmp_path, xl=True), torch.float16)
    assert (pipeline.unet.dtype, pipeline.vae.dtype) == (torch.float16, torch.float32)
    pipeline = load_pipeline(preset_of(tmp_path / "sd"), torch.float16)
    assert pipeline.vae.dtype == torch.float16


@pytest.mark.parametrize(("upcast", "dtype"), [(True, torch.float32), (False, torch.float16)])
def test_another_autoencoder_for_xl_is_as_exact_as_it_asks_to_be(
    tmp_path: Path, upcast: bool, dtype: torch.dtype
) -> None:
    xl = preset_of(tmp_path, xl=True)
    own = AutoencoderKL.from_pretrained(xl.model, subfolder="vae")
    own.register_to_config(force_upcast=upcast)
    own.save_pretrained(tmp_path / "vae")
    pipeline = load_pipeline(replace(xl, vae=str(tmp_path / "vae")), torch.float16)
    assert (pipeline.unet.dtype, pipeline.vae.dtype) == (torch.float16, dtype)


def test_latents_are_brought_back_as_stock_diffusers_does(tmp_path: Path) -> None:
    """Some autoencoders of XL name a mean and a deviation of each channel."""
    generator = load(preset_of(tmp_path, xl=True))
    pipeline_of(generator).vae.register_to_config(
        latents_mean=[-0.3, 0.2, 0.9, -0.8], latents_std=[2.0, 0.5, 3.0, 1.2]
    )
    (ours,) = generator.generate([JOB], [SOURCE])
    with stock_model(generator) as pipeline, torch.no_grad():
        pipeline.set_progress_bar_config(disable=True)
        pipeline.set_ip_adapter_scale(JOB.ip_adapter_scale)
        (stock,) = pipeline(
            prompt=JOB.prompt,
            negative_prompt=JOB.negative_prompt,
            num_inference_steps=JOB.steps,
            guidance_scale=JOB.guidance_scale,
            generator=torch.Generator().manual_seed(JOB.seed),
            ip_adapter_image=SOURCE,
            output_type="np",
        ).images
    assert np.abs(np.asarray(ours) / 255 - stock).max() < 1.5 / 255


def wide_encoder(folder: Path) -> None:
    """An image encoder of another width than the adapters', as h94/IP-Adapter has two."""
    vision = CLIPVisionConfig(
        hidden_size=PATCH_WIDTH * 2,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=EMBEDS * 2,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["plain", "full", "plus"])
def test_an_adapter_gets_the_image_encoder_that_it_was_made_for(tmp_path: Path, kind: str) -> None:
    """Whichever of those in its folder that is, as for h94/IP-Adapter:sdxl_models/ip-adapter_sdxl."""
    preset = preset_of(tmp_path, kind)
    adapter = Path(str(preset.adapter))
    (adapter / "models").rename(adapter / "xl_models")
    wide_encoder(adapter / "models/image_encoder")
    elsewhere = with_adapter(preset, f"{adapter}:xl_models/tiny.safetensors")
    generator = load(elsewhere)
    assert pipeline_of(generator).image_encoder.config.projection_dim == EMBEDS
    assert generator.generate([JOB], [SOURCE])[0] is not None


@pytest.mark.parametrize("kind", ["plain", "full", "plus"])
def test_an_image_encoder_that_does_not_fit_is_refused(tmp_path: Path, kind: str) -> None:
    preset = preset_of(tmp_path, kind)
    shutil.rmtree(Path(str(preset.adapter)) / "models/image_encoder")
    with pytest.raises(UserError, match="--adapter"):
        load(preset)
    wide_encoder(Path(str(preset.adapter)) / "models/image_encoder")
    with pytest.raises(UserError, match="--model-option image_encoder=") as error:
        load(preset)
    assert "\n" not in str(error.value)


def test_a_device_without_room_is_one_sentence(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DiffusionPipeline, "to", full)
    with pytest.raises(UserError, match="does not fit into the memory of 'cpu'; free some"):
        load(preset)
