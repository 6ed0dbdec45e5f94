"""A model in a folder is what the folder holds."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.generation.stock import preset_of

from dalda.models.fingerprint import SAMPLE, SAMPLES, contents_of
from dalda.models.presets import PRESETS, Preset


@pytest.fixture
def preset(tmp_path: Path) -> Preset:
    return replace(preset_of(tmp_path / "here"), clip="openai/clip-vit-base-patch16")


def test_presets_and_hub_ids_are_known_by_name() -> None:
    for name, row in PRESETS.items():
        assert contents_of(name, row) == {}


def test_a_copy_elsewhere_is_the_same_model(preset: Preset, tmp_path: Path) -> None:
    here = contents_of(preset.model, preset)
    assert set(here) == {"model", "preset.model", "preset.adapter"}
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    copied = replace(
        preset, model=str(tmp_path / "there/model"), adapter=str(tmp_path / "there/adapter") + "/"
    )
    (tmp_path / "there/model/README.md").write_text("a page")
    (tmp_path / "there/model/.cache").mkdir()
    (tmp_path / "there/model/.cache/when.json").write_text("{}")
    assert contents_of(copied.model, copied) == here


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("model/unet/config.json", "preset.model"),
        ("model/unet/diffusion_pytorch_model.safetensors", "preset.model"),
        ("adapter/models/tiny.safetensors", "preset.adapter"),
        ("adapter/models/image_encoder/model.safetensors", "preset.adapter"),
    ],
)
def test_another_content_is_another_model(preset: Preset, tmp_path: Path, file: str, setting: str) -> None:
    before = contents_of("mine", preset)
    path = tmp_path / "here" / file
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    after = contents_of("mine", preset)
    assert [name for name in before if before[name] != after[name]] == [setting]


def test_one_file_is_known_by_its_content(preset: Preset, tmp_path: Path) -> None:
    file = tmp_path / "one@home.safetensors"
    file.write_bytes(b"weights")
    one = replace(preset, model=str(file), config=preset.model)
    before = contents_of(one.model, one)
    assert set(before) == {"model", "preset.model", "preset.config", "preset.adapter"}
    other = replace(one, model=str(file.rename(tmp_path / "other.safetensors")))
    assert contents_of(other.model, other) == before
    Path(other.model).write_bytes(b"weighty")
    after = contents_of(other.model, other)
    assert [name for name in before if before[name] != after[name]] == ["model", "preset.model"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_an_adapter_the_working_folder_is_not_read(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str | None
) -> None:
    """An empty path is the working folder to Python."""
    shutil.copytree(tmp_path / "here/adapter", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = contents_of(preset.model, replace(preset, adapter=nothing))
    assert set(found) == {"model", "preset.model"}
    monkeypatch.chdir(tmp_path)
    assert contents_of(preset.model, replace(preset, adapter=nothing)) == found


def test_a_large_file_is_read_in_places(tmp_path: Path) -> None:
    """From its first byte to its last, as trained weights differ everywhere."""
    path = tmp_path / "lora.safetensors"
    row = replace(PRESETS["sd15"], lora=str(path))
    size = SAMPLES * SAMPLE * 2
    seen = set()
    for place in (0, size // 2 - size // 2 % (SAMPLE * 2), size - 1):
        with path.open("wb") as file:
            file.truncate(size)
            file.seek(place)
            file.write(b"x" * min(SAMPLE * 2, size - place))
        seen.add(contents_of("sd15", row)["preset.lora"])
    assert len(seen) == 3
