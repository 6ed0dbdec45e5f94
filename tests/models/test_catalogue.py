"""Sizes of the published models are those of their architectures, and each preset says what it needs."""

import fnmatch
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterPlusImageProjection,
    IPAdapterTimeImageProjection,
)
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor

from dalda.models.catalogue import PUBLISHED, files_of, parts_of, unwanted_of
from dalda.models.presets import PRESETS, SHIPPED

ARCHITECTURES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "architectures.json").read_text(encoding="utf-8")
)


def millions(library: str, kind: str, config: dict[str, Any]) -> float:
    """Parameters of a published configuration."""
    return counted([meta(library, kind, config)]) / 1e6


def meta(library: str, kind: str, config: dict[str, Any]) -> Any:
    """The model of a published configuration; no weight is made."""
    found = getattr(importlib.import_module(library), kind)
    with torch.device("meta"):
        return found(found.config_class(**config)) if hasattr(found, "config_class") else found(**config)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES["denoiser"])
def test_the_denoiser_has_as_many_parameters_as_its_configuration(name: str) -> None:
    assert PUBLISHED[name].denoiser == pytest.approx(millions(*ARCHITECTURES["denoiser"][name]), abs=0.1)


@pytest.mark.slow
def test_the_other_parts_have_as_many_parameters_as_their_configurations() -> None:
    for part in ("text", "encoder", "vae", "clip"):
        counted = {round(millions(*row), 1) for row in ARCHITECTURES[part].values()}
        listed: set[float] = set()
        for model in PUBLISHED.values():
            value = getattr(model, part)
            listed |= set(value) if isinstance(value, tuple) else {value}
        assert listed - {0.0} == counted


@pytest.mark.slow
def test_the_adapters_have_as_many_parameters_as_their_layers() -> None:
    """Keys and values of each cross-attention, and the projection of the image's features."""
    with torch.device("meta"):
        for name in ("sd15", "sdxl", "kolors"):
            config = ARCHITECTURES["denoiser"][name][2]
            unet, width = UNet2DConditionModel(**config), config["cross_attention_dim"]
            widths = [x.to_q.in_features for key, x in unet.named_modules() if key.endswith(".attn2")]
            projection = ImageProjection(1024, width, 4)
            if name == "kolors":
                projection = IPAdapterPlusImageProjection(1024, width, 2048, heads=12, num_queries=16)
            count = 2 * width * sum(widths) + counted([projection])
            assert PUBLISHED[name].adapter == pytest.approx(count / 1e6, abs=0.1)
        layers = [FluxIPAdapterAttnProcessor(3072, 4096, num_tokens=(4,)) for _ in range(19)]
        flux = counted([ImageProjection(768, 4096, 4), *layers])
        instant = [SD3IPAdapterJointAttnProcessor2_0(2432, 2432, 64, timesteps_emb_dim=1280)] * 38
        projection = IPAdapterTimeImageProjection(1152, 2432, 1280, heads=20, num_queries=64)
        sd35 = counted([projection, *instant])
    assert PUBLISHED["flux-dev"].adapter == pytest.approx(flux / 1e6, abs=0.1)
    assert PUBLISHED["sd35"].adapter == pytest.approx(sd35 / 1e6, abs=0.1)


@pytest.mark.slow
def test_what_is_not_held_in_eight_bits_lies_outside_linear_layers() -> None:
    def outside(row: list[Any]) -> float:
        model = meta(*row)
        linear = sum(x.weight.numel() for x in model.modules() if isinstance(x, torch.nn.Linear))
        return counted([model]) / 1e6 - linear / 1e6

    encoders = {
        round(millions(*row), 1): outside(row)
        for part in ("text", "encoder")
        for row in ARCHITECTURES[part].values()
    }
    for name, row in ARCHITECTURES["denoiser"].items():
        model = PUBLISHED[name]
        parts = (*model.text, *((model.encoder,) if model.encoder else ()))
        wanted = outside(row) + sum(encoders[size] for size in parts)
        assert model.unrounded == pytest.approx(wanted, abs=0.2)


def counted(modules: list[Any]) -> int:
    return sum(weight.numel() for module in modules for weight in module.parameters())


def test_every_preset_but_the_shipped_ones_is_published() -> None:
    assert set(PUBLISHED) == {name for name, row in PRESETS.items() if not row.model.startswith(SHIPPED)}
    assert all(model.licence for model in PUBLISHED.values())


def test_what_is_held_in_memory_by_hand() -> None:
    """Stable Diffusion 1.5: 859.5 + 22.3 + 123.1 + 83.7 + 632.1 million parameters of two bytes."""
    sd15 = PUBLISHED["sd15"]
    assert sd15.memory_gigabytes() == pytest.approx(1720.7 * 2 / 1000 + 1.5)
    assert sd15.memory_gigabytes("model") == pytest.approx(881.8 * 2 / 1000 + 1.5)
    assert sd15.memory_gigabytes("sequential") == pytest.approx(0.04 + 1.5)
    # 1,720.7 - 83.7 - 629.2 of them need one byte less.
    assert sd15.memory_gigabytes_in_eight_bits() == pytest.approx(1720.7 * 2 / 1000 + 1.5 - 1.0078)
    # Base model in single precision, adapter in half, ViT-H and CLIP in single.
    assert sd15.download_gigabytes == pytest.approx(1066.3 * 4 / 1000 + 0.0446 + 2.53 + 0.5984)
    # 41 TFLOP an image, 30 steps with guidance, at 40 % of an H100's 790 TFLOP/s.
    assert sd15.images_per_second(PRESETS["sd15"], "NVIDIA H100 80GB HBM3") == pytest.approx(7.75, abs=0.01)
    assert sd15.images_per_second(PRESETS["sd15"], "cpu") is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_downloaded_holds_every_part(name: str) -> None:
    preset = PRESETS[name]
    files = files_of(preset)
    for model, file, _ in parts_of(preset):
        assert any(fnmatch.fnmatch(file, pattern) for pattern in files[model]), (model, file)
    assert all(".fp16" in pattern for pattern in files[preset.model] if "safetensors" in pattern) == (
        preset.variant == "fp16"
    )
    for model, file, _ in parts_of(preset):
        assert not any(fnmatch.fnmatch(file, pattern) for pattern in unwanted_of(preset)), (model, file)
    other = replace(preset, adapter=None, vae=None, lora=None)
    assert set(files_of(other)) == {preset.model, preset.clip}


def test_the_table_of_what_fits_is_computed() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, root / "tools/memory_table.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout in (root / "docs/models.md").read_text(encoding="utf-8")
