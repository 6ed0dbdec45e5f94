from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from dalda.errors import UserError
from dalda.models.preset_options import overridden, split_file, with_adapter
from dalda.models.presets import PRESETS, Preset, preset_named

SD = PRESETS["sd15"]


def test_presets_are_found_by_name_folder_or_id(tmp_path: Path) -> None:
    assert preset_named("sd14").model == "CompVis/stable-diffusion-v1-4"
    assert preset_named("sd14").adapter_file == "ip-adapter_sd15.bin"
    assert preset_named("sdxl").adapter_file == "ip-adapter_sdxl_vit-h.safetensors"
    assert preset_named("sdxl").image_encoder == "models/image_encoder"
    assert preset_named(str(tmp_path)).model == str(tmp_path)
    assert preset_named("somebody/a-model@v2").model == "somebody/a-model@v2"
    assert preset_named("somebody/a-model").vae is None
    assert preset_named("somebody/a-model").size is None
    with pytest.raises(UserError, match=r"sd14, sd15, sdxl, .*, doodle"):
        preset_named("sd99")


def test_the_papers_set_up_is_a_row() -> None:
    """METHOD: SD 1.4, sd-vae-ft-mse, DDIM with its settings, 30 steps, guidance 7.5, 512 pixels."""
    row = PRESETS["sd14"]
    assert (row.vae, row.steps, row.guidance_scale, row.size) == ("stabilityai/sd-vae-ft-mse", 30, 7.5, 512)
    assert (row.scheduler, row.guidance_interval) == ("ddim", (0.0, 1.0))
    assert row.noise_schedule is not None
    assert row.noise_schedule["beta_schedule"] == "scaled_linear"
    assert row.negative_prompt == "monochrome, lowres, bad anatomy, worst quality, low quality"


@pytest.mark.parametrize(
    ("folder", "path", "encoders"),
    [
        ("models", "models/a.bin", ("models/image_encoder", "image_encoder")),
        (".", "a.bin", ("models/image_encoder", "./image_encoder", "image_encoder")),
        ("", "a.bin", ("models/image_encoder", "./image_encoder", "image_encoder")),
    ],
)
def test_an_adapter_and_its_encoder_lie_in_its_folder(
    folder: str, path: str, encoders: tuple[str, ...]
) -> None:
    """An empty folder is the top, too, and not that of the disk."""
    row = replace(SD, adapter_folder=folder, adapter_file="a.bin")
    assert (row.adapter_path, row.encoder_folders) == (path, encoders)


def test_an_adapter_is_a_folder_or_id_with_a_file(tmp_path: Path) -> None:
    def parts(adapter: str) -> tuple[str | None, str, str]:
        row = with_adapter(SD, adapter)
        return row.adapter, row.adapter_folder, row.adapter_file

    assert parts("somebody/adapters") == ("somebody/adapters", "models", "ip-adapter_sd15.bin")
    assert parts("somebody/adapters@v2:a.bin") == ("somebody/adapters@v2", "models", "a.bin")
    assert parts("h94/IP-Adapter:sdxl_models/b.bin") == ("h94/IP-Adapter", "sdxl_models", "b.bin")
    assert parts("somebody/adapters:./a.bin") == ("somebody/adapters", ".", "a.bin")
    flat = tmp_path / "with:colon"
    flat.mkdir()
    (flat / "c.safetensors").touch()
    assert parts(f"{flat}") == (str(flat), "models", "ip-adapter_sd15.bin")
    assert parts(f"{flat}:c.safetensors") == (str(flat), ".", "c.safetensors")
    assert parts(str(flat / "c.safetensors")) == (str(flat), ".", "c.safetensors")


def test_a_file_is_reported_from_its_folder(tmp_path: Path) -> None:
    assert split_file("somebody/lora") == ("somebody/lora", None)
    assert split_file("somebody/lora@v1:x.safetensors") == ("somebody/lora@v1", "x.safetensors")
    with pytest.raises(UserError, match=r"'s3://bucket/a\.safetensors' is no file of a disk; copy it"):
        split_file("s3://bucket/a.safetensors")
    assert split_file("shipped:doodles/weights") == ("shipped:doodles/weights", None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"size": "768"}, replace(SD, size=768)),
        ({"vae": "none", "noise_schedule": "none"}, replace(SD, vae=None, noise_schedule=None)),
        ({"negative_prompt": "dull: 7"}, replace(SD, negative_prompt="dull: 7")),
        ({"prompt_prefix": ""}, replace(SD, prompt_prefix="")),
        ({"guidance_interval": "[0.2, 0.8]"}, replace(SD, guidance_interval=(0.2, 0.8))),
        ({"noise_schedule": "{beta_start: 0.1}"}, replace(SD, noise_schedule={"beta_start": 0.1})),
        ({"words": "doodles", "lora_scale": 0.5}, replace(SD, words="doodles", lora_scale=0.5)),
    ],
)
def test_every_field_can_be_overridden(fields: dict[str, object], expected: Preset) -> None:
    assert overridden(SD, fields) == expected


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"sizes": "1"}, "no field 'sizes'; its fields are model, adapter"),
        ({"size": "large"}, "size cannot be 'large'"),
        ({"size": "{"}, "size cannot be read"),
        ({"steps": "0"}, "in 0 steps"),
        ({"scheduler": "ddpm"}, "scheduler cannot be 'ddpm'"),
        ({"guidance_interval": "[0.8, 0.2]"}, "from 0.8 to 0.2"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        overridden(SD, fields)
    assert "\n" not in str(refused.value)


def test_a_checkpoint_in_one_file_starts_from_the_row_of_its_kind(tmp_path: Path) -> None:
    unet = {"model.diffusion_model.input_blocks.0.0.weight": np.zeros(1, np.float32)}
    for prefix, row in (
        ("cond_stage_model.transformer.", "sd15"),
        ("conditioner.embedders.1.model.", "sdxl"),
    ):
        path = tmp_path / f"my@{row}.safetensors"
        save_file({**unet, f"{prefix}a": np.zeros(1, np.float32)}, path)
        found = preset_named(str(path))
        assert (found.model, found.variant, found.vae, found.size) == (str(path), None, None, None)
        assert (found.adapter_file, found.steps) == (PRESETS[row].adapter_file, PRESETS[row].steps)
        assert found.guidance_scale == PRESETS[row].guidance_scale


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("some.safetensors", None, "there is no file 'some.safetensors'"),
        ("some.ckpt", b"weights", "a pickled checkpoint, which could run code"),
        ("some.safetensors", b"weights", "is no readable safetensors file; replace it"),
        ("some.safetensors", save({"lora_unet.alpha": np.zeros(1)}), "no whole checkpoint of Stable Diff"),
    ],
)
def test_another_file_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as refused:
        preset_named(name)
    assert "\n" not in str(refused.value)
