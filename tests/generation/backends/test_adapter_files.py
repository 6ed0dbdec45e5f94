"""An adapter that is not made for the model is refused by its header and the model's settings alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.generation.backends.test_families import saved

from dalda.errors import UserError
from dalda.generation.backends.checkpoint import refuse_misfit
from dalda.models.preset_options import with_adapter
from dalda.models.presets import PRESETS, Preset

FAMILIES = ("sd", "xl", "kolors", "sd3", "flux", "chroma")


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Preset]:
    """A model of each family with its adapter; the weights of the model are gone."""
    found = {name: saved(tmp_path_factory.mktemp(name), name) for name in FAMILIES}
    for preset in found.values():
        for file in Path(preset.model).rglob("*.safetensors"):
            file.unlink()
    return found


def file_of(preset: Preset) -> Path:
    return Path(str(preset.adapter)) / preset.adapter_folder / preset.adapter_file


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("other", FAMILIES)
def test_an_adapter_fits_its_own_family_alone(presets: dict[str, Preset], family: str, other: str) -> None:
    preset = with_adapter(presets[family], str(file_of(presets[other])))
    # Kolors has the attention layers of Stable Diffusion XL.
    if family == other or {family, other} in ({"flux", "chroma"}, {"xl", "kolors"}):
        refuse_misfit(preset)
        return
    with pytest.raises(UserError, match=r"the adapter in .* made for .* with --adapter") as refused:
        refuse_misfit(preset)
    assert "\n" not in str(refused.value)


def test_one_of_another_size_or_with_a_tensor_less_is_refused(
    presets: dict[str, Preset], tmp_path: Path
) -> None:
    for family, preset in presets.items():
        weights = load_file(file_of(preset))
        key = next(name for name in weights if "to_k_ip.weight" in name or "k_proj.weight" in name)
        save_file({**weights, key: weights[key][:-1].contiguous()}, tmp_path / "size.safetensors")
        save_file({name: x for name, x in weights.items() if name != key}, tmp_path / "less.safetensors")
        for name, fault in {"size": "has tensors of the wrong shape", "less": "lacks tensors"}.items():
            with pytest.raises(UserError, match=f"{fault} .*with --adapter"):
                refuse_misfit(with_adapter(preset, f"{tmp_path}/{name}.safetensors"))
        second = replace(preset, second_adapter=f"{tmp_path}:size.safetensors")
        if family in ("sd", "xl", "kolors"):
            with pytest.raises(UserError, match=r"wrong shape.*second_adapter="):
                refuse_misfit(second)


def test_what_is_no_adapter_or_not_there_is_refused(presets: dict[str, Preset], tmp_path: Path) -> None:
    (tmp_path / "photo.safetensors").write_bytes(b"no weights")
    for named, sentence in {
        f"{tmp_path}/photo.safetensors": "is no readable safetensors file",
        f"{tmp_path}": "it has no file 'models/tiny.safetensors'.*FOLDER:FILE with --adapter",
        f"{tmp_path}:none.safetensors": "it has no file 'models/none.safetensors'",
        "nothing/adapter.safetensors": "there is no file 'nothing/adapter.safetensors'; fix --adapter",
        "no such adapter": "neither a folder nor a Hub id; fix --adapter",
        "black/and/white": "neither a folder nor a Hub id; fix --adapter",
    }.items():
        with pytest.raises(UserError, match=sentence):
            refuse_misfit(with_adapter(presets["sd"], named))


@pytest.mark.parametrize(
    ("model", "adapter", "classes"),
    [
        ("sd15", "XLabs-AI/flux-ip-adapter", "ChromaPipeline or FluxPipeline"),
        ("kolors", "h94/IP-Adapter", "StableDiffusionPipeline or StableDiffusionXLPipeline"),
        ("sdxl", "Kwai-Kolors/Kolors-IP-Adapter-Plus", "KolorsPipeline"),
        ("flux-schnell", "h94/IP-Adapter", "StableDiffusionPipeline or StableDiffusionXLPipeline"),
        ("sdxl-turbo", "h94/IP-Adapter:models/ip-adapter-plus_sd15.safetensors", "StableDiffusionPipeline"),
        ("sd35", "h94/IP-Adapter:sdxl_models/ip-adapter_sdxl.safetensors", "StableDiffusionXLPipeline"),
    ],
)
def test_a_published_adapter_is_known_by_name(model: str, adapter: str, classes: str) -> None:
    with pytest.raises(UserError, match=f"'.*' is made for a {classes}, and the model .* --adapter"):
        refuse_misfit(with_adapter(PRESETS[model], adapter))


@pytest.mark.parametrize("model", PRESETS)
def test_a_presets_own_adapter_is_not_refused(model: str) -> None:
    refuse_misfit(PRESETS[model])
    refuse_misfit(replace(PRESETS[model], steps=7, scheduler=PRESETS[model].scheduler))


def test_a_published_model_that_is_not_on_disk_is_known_by_its_shipped_settings(
    presets: dict[str, Preset],
) -> None:
    for model in ("sd14", "sdxl"):
        with pytest.raises(UserError, match=r"the adapter in .* (lacks|has) tensors .*--adapter"):
            refuse_misfit(with_adapter(PRESETS[model], str(file_of(presets["sd"]))))
