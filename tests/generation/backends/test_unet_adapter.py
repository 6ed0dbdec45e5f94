"""Two IP-Adapters at once: each image of a mixed batch equals the stock pipeline with both."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from tests.generation.stock import load, preset_of, request_of, source_of, stock_latents, stock_model
from tests.generation.tiny import save_adapter

from dalda.errors import UserError
from dalda.generation.backends.base import GeneratorSpec
from dalda.models.catalogue import files_of
from dalda.models.fingerprint import contents_of
from dalda.models.presets import PRESETS, Preset

SECOND = 0.4
"""The share of the second adapter."""
SCALES = (0.0, 0.35, 0.9)


def preset_with(folder: Path, first: str, second: str, *, xl: bool = False) -> Preset:
    preset = preset_of(folder, first, xl=xl)
    torch.manual_seed(1)
    save_adapter(UNet2DConditionModel.from_pretrained(folder / "model/unet"), folder / "second", second)
    place = f"{folder}/second:tiny.safetensors"
    return replace(preset, second_adapter=place, second_adapter_scale=SECOND)


@pytest.mark.parametrize(("family", "first", "second"), [("sd", "plain", "plus"), ("xl", "full", "plain")])
@pytest.mark.parametrize("count", [1, 2])
def test_each_image_equals_the_stock_pipeline_with_both_adapters(
    tmp_path: Path, family: str, first: str, second: str, count: int
) -> None:
    """With one image prompt, and with two, which both adapters read."""
    preset = preset_with(tmp_path, first, second, xl=family == "xl")
    generator = load(preset)
    images = [[source_of(10 * number + place) for place in range(count)] for number in range(len(SCALES))]
    requests = [
        replace(request_of(number, scale), more_source_sha256s=(f"more{number}",) * (count - 1))
        for number, scale in enumerate(SCALES)
    ]
    more: dict[str, Any] = {"more_images": [rest for _, *rest in images]} if count > 1 else {}
    with torch.no_grad():
        ours = generator.denoise(requests, [group[0] for group in images], **more)
    alone = []
    with stock_model(generator) as pipeline:
        for request, group in zip(requests, images, strict=True):
            prompts: list[Image.Image] | list[list[Image.Image]] = group * 2 if count == 1 else [group] * 2
            scales = [request.ip_adapter_scale, SECOND * request.ip_adapter_scale]
            alone.append(stock_latents(pipeline, request, prompts, scales=scales))
    assert (ours - torch.cat(alone)).abs().max() < 1e-4
    single = load(replace(preset, second_adapter=None))
    with torch.no_grad():
        other = single.denoise(requests, [group[0] for group in images], **more)
    # Without the second adapter only the images of a scale above 0 are others.
    differences = (ours - other).abs().amax((1, 2, 3))
    assert differences[0] < 1e-4
    assert differences[1:].min() > 1e-3


def test_a_second_adapter_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    preset = preset_with(tmp_path / "sd", "plain", "plus")
    other = preset_with(tmp_path / "xl", "plain", "plus", xl=True).second_adapter
    face = preset_with(tmp_path / "face", "plain", "face").second_adapter
    for named, sentence in {
        f"{tmp_path}/sd/second": "second_adapter= is FOLDER_OR_ID:FILE",
        f"{tmp_path}/sd/second:nothing.safetensors": r"it has no file 'nothing.safetensors'",
        other: "(lacks tensors|has tensors that .* not use).* with --model-option second_adapter=",
        face: "needs a face recogniser",
    }.items():
        with pytest.raises(UserError, match=sentence) as refused:
            GeneratorSpec(replace(preset, second_adapter=named)).load()
        assert "\n" not in str(refused.value)


def test_a_second_adapter_is_known_by_its_content_and_downloaded(tmp_path: Path) -> None:
    preset = preset_with(tmp_path, "plain", "plus")
    before = contents_of(preset.model, preset)["preset.second_adapter"]
    (tmp_path / "second/tiny.safetensors").write_bytes(b"other")
    assert contents_of(preset.model, preset)["preset.second_adapter"] != before
    row = replace(PRESETS["sd15"], second_adapter="h94/IP-Adapter:models/ip-adapter-plus_sd15.safetensors")
    assert "models/ip-adapter-plus_sd15.safetensors" in files_of(row)["h94/IP-Adapter"]
    assert "models/ip-adapter_sd15.bin" in files_of(row)["h94/IP-Adapter"]
