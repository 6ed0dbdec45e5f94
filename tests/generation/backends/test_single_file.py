"""A model in one file makes what the same model makes as a folder; a file that is not whole is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file
from tests.generation.original_names import save_single_file, single_file_of
from tests.generation.stock import latents_of, load, pipeline_of, preset_of, request_of, source_of

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.generation.backends.single_file import _CONVERTERS, empty_models
from dalda.models.presets import Preset, located
from dalda.models.weights import fill

JOB, SOURCE = request_of(0, 0.6), source_of(0)
KINDS = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}


@pytest.fixture(scope="module", params=["1.x", "XL"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Preset, Preset]:
    """A model's folder, and the same in one file with the folder's settings."""
    tmp = tmp_path_factory.mktemp("pair")
    folder = preset_of(tmp, xl=request.param == "XL")
    save_single_file(DiffusionPipeline.from_pretrained(folder.model), tmp / "model.safetensors")
    return folder, replace(folder, model=str(tmp / "model.safetensors"), config=folder.model)


def test_one_file_makes_the_images_of_the_folder(pair: tuple[Preset, Preset]) -> None:
    folder, file = pair
    requests, sources = [JOB, request_of(1, 0.0)], [SOURCE, source_of(1)]
    ours, wanted = load(file), load(folder)
    assert torch.equal(latents_of(ours, requests, sources), latents_of(wanted, requests, sources))
    (image,), (expected,) = ours.generate([JOB], [SOURCE]), wanted.generate([JOB], [SOURCE])
    assert image is not None
    assert expected is not None
    assert image.tobytes() == expected.tobytes()


MISSING = (
    "model.diffusion_model.middle_block.1.proj_in.weight",
    "model.diffusion_model.time_embed.0.bias",
    "first_stage_model.decoder.mid.attn_1.q.weight",
    "first_stage_model.encoder.norm_out.weight",
    "transformer.text_model.final_layer_norm.bias",
    "transformer.text_model.encoder.layers.1.mlp.fc1.weight",
    "embedders.1.model.transformer.resblocks.0.attn.in_proj_bias",
    "embedders.1.model.ln_final.weight",
)


def test_every_missing_tensor_is_refused(pair: tuple[Preset, Preset], tmp_path: Path) -> None:
    _, file = pair
    weights = load_file(file.model)
    of_this = [key for key in weights if key.endswith(MISSING)]
    assert len(of_this) == (8 if any(".embedders.1." in key for key in weights) else 6)
    for name in of_this:
        save_file({key: weights[key] for key in weights if key != name}, tmp_path / "part.safetensors")
        with pytest.raises(
            UserError, match=r"the (unet|vae|text_encoder(_2)?) in '.*' lacks tens"
        ) as error:
            load(replace(file, model=str(tmp_path / "part.safetensors")))
        assert "\n" not in str(error.value)


def test_other_weights_than_the_settings_say_are_refused(
    pair: tuple[Preset, Preset], tmp_path: Path
) -> None:
    _, file = pair
    weights = load_file(file.model)
    name = "model.diffusion_model.input_blocks.0.0.weight"
    save_file({**weights, name: torch.zeros(16, 9, 3, 3)}, tmp_path / "inpainting.safetensors")
    with pytest.raises(UserError, match=r"the unet in .* has tensors of the wrong shape \(conv_in.weight"):
        load(replace(file, model=str(tmp_path / "inpainting.safetensors")))
    save_file({**weights, name: weights[name] * float("nan")}, tmp_path / "nan.safetensors")
    with pytest.raises(UserError, match="has tensors with NaN or infinity"):
        load(replace(file, model=str(tmp_path / "nan.safetensors")))
    # One of eight bits is looked at, too.
    save_file(weights | {name: weights[name].to(torch.float8_e4m3fn)}, tmp_path / "small.safetensors")
    assert load(replace(file, model=str(tmp_path / "small.safetensors"))) is not None
    save_file({**weights, "v_pred": torch.zeros(0)}, tmp_path / "velocity.safetensors")
    with pytest.raises(UserError, match=r"not trained to predict noise; name .* --model-option config="):
        load(replace(file, model=str(tmp_path / "velocity.safetensors"), config=None))


def test_the_autoencoder_may_be_another(pair: tuple[Preset, Preset], tmp_path: Path) -> None:
    folder, file = pair
    weights = {name: w for name, w in load_file(file.model).items() if not name.startswith("first_stage")}
    save_file(weights, tmp_path / "without.safetensors")
    without = replace(file, model=str(tmp_path / "without.safetensors"))
    with pytest.raises(UserError, match=r"the vae in .* lacks tensors"):
        load(without)
    other = load(replace(without, vae=f"{folder.model}/vae"))
    (image,), (expected,) = other.generate([JOB], [SOURCE]), load(folder).generate([JOB], [SOURCE])
    assert image is not None
    assert expected is not None
    assert image.tobytes() == expected.tobytes()


def test_the_tokenizer_is_that_of_clip_where_no_folder_is_named(pair: tuple[Preset, Preset]) -> None:
    """The tiny checkpoint has the doodles' vocabulary, and other shapes than Stable Diffusion's."""
    _, file = pair
    with pytest.raises(UserError, match=r"has \d+ tokens, not the 49408 of the checkpoint; name a folder"):
        load(replace(file, config=None, clip="shipped:doodles/weights/clip"))


@pytest.mark.parametrize("name", KINDS)
def test_the_shipped_settings_are_those_of_published_checkpoints(name: str) -> None:
    """Every tensor of the published architecture, by its original name and shape; no weight is made."""
    with torch.device("meta"):
        models = empty_models(located(f"shipped:models/configurations/{name}"), KINDS[name])

    class Parts:
        pass

    parts: Any = Parts()
    vars(parts).update(models)
    tensors = single_file_of(parts)
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    key = "transformer_blocks.0.attn2.to_k.weight"
    if name == "sd15":
        assert shapes[f"model.diffusion_model.input_blocks.1.1.{key}"] == (320, 768)
        assert shapes[f"model.diffusion_model.output_blocks.11.1.{key}"] == (320, 768)
        assert shapes["model.diffusion_model.output_blocks.8.2.conv.weight"] == (640, 640, 3, 3)
        assert shapes["cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc1.weight"] == (
            3072,
            768,
        )
        assert len(shapes) == 686 + 248 + 196  # UNet, autoencoder, text encoder
    else:
        assert shapes[f"model.diffusion_model.input_blocks.8.1.{key}"] == (1280, 2048)
        assert shapes["model.diffusion_model.label_emb.0.0.weight"] == (1280, 2816)
        assert shapes["conditioner.embedders.1.model.text_projection"] == (1280, 1280)
        layer = "conditioner.embedders.1.model.transformer.resblocks.31"
        assert shapes[f"{layer}.attn.in_proj_weight"] == (3840, 1280)
    for part, convert in _CONVERTERS.items():
        if part in models:
            fill(models[part], convert(tensors, models[part]), part)


def test_a_folder_has_settings_of_its_own(pair: tuple[Preset, Preset]) -> None:
    folder, file = pair
    assert GeneratorSpec(file).load().image_size == 16
    with pytest.raises(UserError, match=r"config= is for a model in one file, which .* is not"):
        GeneratorSpec(replace(folder, config=folder.model)).load()


def test_half_precision_decodes_as_the_folder_does(pair: tuple[Preset, Preset]) -> None:
    for preset in pair:
        pipeline = pipeline_of(load(preset, dtype="fp16"))
        xl = hasattr(pipeline, "text_encoder_2")
        assert pipeline.vae.dtype == (torch.float32 if xl else torch.float16)
        assert pipeline.unet.dtype == pipeline.text_encoder.dtype == torch.float16
